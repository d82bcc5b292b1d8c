"""An hour's worth of events on the real plugin in minutes, and whether it stays as large as it was.

`python -m tests.soak --help`.
"""
