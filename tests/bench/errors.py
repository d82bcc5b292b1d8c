"""The one error of the benchmarks."""


class BenchError(Exception):
    """Something broke, so that there is nothing to measure: one line for the user."""
