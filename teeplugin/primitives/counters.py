"""Counts of what happened, kept by the parts they happened to.

Kept without Prometheus' library, so that the parts can be used, and the plugin can start, before
that is loaded.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

QUERY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a query of a loaded library, about 0.1 ms, over one by a fresh helper, about 25 ms, to the
deadline of 10 s."""


class Histogram:
    """How many values were at most as large as each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Each bound as text, the last one "+Inf", with the number of values up to it."""
        names = [*map(str, self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


@dataclass(slots=True)
class QueryStats:
    """The queries of the TEE: results by kind, times, and since when one is under way.

    `last_reading` is in seconds since the epoch, 0 if there was none; `under_way_since` monotonic.
    """

    results: Counter[str] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=lambda: Histogram(QUERY_BUCKETS_SECONDS))
    last_reading: float = 0.0
    under_way_since: float | None = None

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Take the time of one query, also of one that is given up."""
        self.under_way_since = time.monotonic()
        try:
            yield
        finally:
            self.seconds.add(time.monotonic() - self.under_way_since)
            self.under_way_since = None

    def answered(self, kind: str | None) -> None:
        """Count a reading, or a fault of this kind."""
        self.results[kind or "ok"] += 1
        if kind is None:
            self.last_reading = time.time()


@dataclass(slots=True)
class ReadStats:
    """Readings of the allocation records; `last` in seconds since the epoch, 0 if none was."""

    results: Counter[str] = field(default_factory=Counter)
    last: float = 0.0
    readable: bool = False

    def count(self, *, ok: bool) -> None:
        """Count one reading."""
        self.results["ok" if ok else "failed"] += 1
        self.readable = ok
        if ok:
            self.last = time.time()
