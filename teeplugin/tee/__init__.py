"""Asks the TEE, and publishes what follows."""
