"""An empty module in place of gmssl, which the mock of the signing tool imports."""
