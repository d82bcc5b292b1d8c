"""Every figure that is measured: its unit, its budget, and the Go original's where it is known."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Budget = Callable[[int], float | None]

LISTED_IN_NO_TIME = 4_096
"""Up to so many units a list takes neither time nor memory that counts beside the libraries."""


def _at_any_count(limit: float) -> Budget:
    return lambda _count: limit


def _up_to(most_units: int, limit: float) -> Budget:
    return lambda count: limit if count <= most_units else None


def _rss(count: int) -> float:
    return 60.0 if count <= 4_096 else 110.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: `budget` gives the limit for a number of units, `original` stands for context."""

    title: str
    unit: str
    budget: Budget | None = None
    original: Mapping[int, str] = field(default_factory=dict)
    digits: int = 1

    def limit(self, count: int) -> float | None:
        return self.budget(count) if self.budget else None


FIGURES: Mapping[str, Figure] = {
    "start_registered": Figure("process start → registered", "ms", _at_any_count(400), digits=0),
    "start_bare": Figure("… a bare process with the same libraries, ready", "ms", digits=0),
    "start_ratio": Figure(
        "… registered, as a multiple of that", "×", _up_to(LISTED_IN_NO_TIME, 1.2), digits=2
    ),
    "start_list": Figure(
        "process start → first list received",
        "ms",
        original={64: "13", 4_096: "14", 65_536: "79", 220_000: "228"},
        digits=0,
    ),
    "start_cpu": Figure("… CPU time until then", "ms", digits=0),
    "register_list": Figure("Register began → first list received", "ms"),
    "flip": Figure(
        "whole-list flip: TEE answered → list received",
        "ms",
        _at_any_count(30),
        original={64: "0.3", 4_096: "1.9", 65_536: "25", 220_000: "fails"},
    ),
    "flip_asked": Figure("… state changed → list received, asked each 50 ms", "ms"),
    "encode_first": Figure("first encoding of a list", "ms", digits=2),
    "encode_flip": Figure("re-encoding: whole list flips", "ms", _at_any_count(10), digits=2),
    "encode_upper": Figure("re-encoding: upper half flips", "ms", digits=2),
    "encode_allocated": Figure(
        "re-encoding: all but ≤ 1,000 scattered ids flip", "ms", _at_any_count(30), digits=2
    ),
    "encode_scattered": Figure("re-encoding: every second id unhealthy", "ms", digits=2),
    "allocate_p50": Figure("Allocate of 10 ids, p50", "ms", digits=2),
    "allocate_p99": Figure("Allocate of 10 ids, p99", "ms", _up_to(2_000, 5), digits=2),
    "allocate_cpu": Figure("… the daemon's CPU time for one", "ms", digits=2),
    "refresh_cpu": Figure(
        "reading the kubelet's allocation records, ≤ 1,000 allocated: CPU time",
        "ms",
        _at_any_count(150),
    ),
    "refresh_allocate_p99": Figure(
        "… Allocate of 1 id meanwhile, p99", "ms", _at_any_count(10), digits=2
    ),
    "rss_start": Figure(
        "RSS after the start",
        "MB",
        _rss,
        original={64: "13", 4_096: "16", 65_536: "24", 220_000: "46"},
    ),
    "rss_bare": Figure("… of the bare process", "MB"),
    "rss_ratio": Figure("… as a multiple of that", "×", _up_to(LISTED_IN_NO_TIME, 1.15), digits=2),
    "rss_flips": Figure("RSS after 50 flips", "MB", _rss, original={220_000: "60"}),
    "rss_peak": Figure("RSS at its peak", "MB", _rss),
    "rss_allocate": Figure("RSS after 2,000 Allocate calls", "MB", _rss),
    "soak_flips": Figure("RSS after the long run of flips", "MB", _rss),
    "soak_flips_ratio": Figure(
        "… as a multiple of that after 50", "×", _at_any_count(1.05), digits=2
    ),
    "soak_streams": Figure("RSS after 200 more streams", "MB", _rss),
    "soak_streams_ratio": Figure(
        "… as a multiple of that after 20", "×", _at_any_count(1.05), digits=2
    ),
    "idle_cpu": Figure("idle CPU, % of a core", "%", _at_any_count(0.1), digits=3),
    "idle_wakeups": Figure("idle wake-ups a second", "/s", digits=2),
    "restart_register": Figure("kubelet's socket there → Register received", "ms"),
    "restart_list": Figure("kubelet's socket there → registered", "ms", _at_any_count(150)),
}


class Results:
    """What was measured: the value of a figure at a number of units."""

    def __init__(self) -> None:
        self._values: dict[str, dict[int, float]] = defaultdict(dict)

    def put(self, name: str, count: int, value: float) -> None:
        assert name in FIGURES, name
        self._values[name][count] = value

    def of(self, name: str) -> Mapping[int, float]:
        return self._values.get(name, {})
