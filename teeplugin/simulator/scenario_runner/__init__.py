"""Scenarios: what they are, how they are read from YAML, and how they are played."""
