"""Random interleavings of what can go wrong, on real processes, each repeatable by its seed.

`python -m tests.chaos --help`; the same on the real kubelet in tests/cluster/test_chaos.py.
"""
