"""An empty module in place of pycryptodome, which the mock of the signing tool imports."""
