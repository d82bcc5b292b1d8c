"""The command `doctor`: every link from the configuration to a running registration, looked at.

It registers nothing, removes nothing, and asks the TEE once, so it may run beside the plugin.
Evidence is gathered first (evidence, looks), then judged by plain functions (the checks).
"""
