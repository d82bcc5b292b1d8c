"""The running plugin: its parts, wired, run and reloaded."""
