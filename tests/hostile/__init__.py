"""Clients that do their worst on the plugin's gRPC socket: `python -m tests.hostile --help`."""
