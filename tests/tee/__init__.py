"""Tests of the real TEE's client side: our C code behind a test libteec of each vendor's layout."""
