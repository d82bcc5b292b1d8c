"""Which units exist and are healthy, and their bytes on the wire.

Device ids are the decimal numbers 0 … N−1 and are kept as runs, because everything that happens
to them happens to runs: a list of 220,000 devices is one range, half of it unhealthy another.
The frame is cut from rows of equal width in the same way, so no object per device ever exists.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Self

from teeplugin.policy.units import KUBELET_MESSAGE_BYTES, MAX_UNITS, rows_bytes

# Where a sweep over two sets stands: in one of them, or in both.
_MINE, _THEIRS, _BOTH = 1, 2, 3

# Tags of protobuf fields with a length: number × 8 + 2.
_FIELD_1, _FIELD_2 = 1 * 8 + 2, 2 * 8 + 2
_ROW_HEAD_BYTES = 4
_HEALTHY = bytes((_FIELD_2, 7)) + b"Healthy"
_UNHEALTHY = bytes((_FIELD_2, 9)) + b"Unhealthy"


_LONGEST_ID = len(str(MAX_UNITS - 1))


def parse_device_id(text: bytes) -> int | None:
    """Return the id that a decimal text of the wire names; None if the plugin lists no such id."""
    # Bytes' isdigit knows ASCII digits only; a leading zero is no id of ours.
    if not text.isdigit() or len(text) > _LONGEST_ID or (text[0] == ord("0") and len(text) > 1):
        return None
    device_id = int(text)
    return device_id if device_id < MAX_UNITS else None


@dataclass(frozen=True, slots=True)
class IdSet:
    """A set of device ids as runs: ascending ranges that neither overlap nor touch.

    Set operations cost the number of runs, not of ids.
    """

    runs: tuple[range, ...] = ()

    @classmethod
    def first(cls, count: int) -> Self:
        """The ids 0 … count−1."""
        return cls((range(count),)) if count > 0 else cls()

    @classmethod
    def of(cls, ids: Iterable[int]) -> Self:
        """The given ids, in any order."""
        ordered = sorted(set(ids))
        runs = []
        for _, group in groupby(enumerate(ordered), key=lambda pair: pair[1] - pair[0]):
            members = [member for _, member in group]
            runs.append(range(members[0], members[-1] + 1))
        return cls(tuple(runs))

    def __len__(self) -> int:
        return sum(len(run) for run in self.runs)

    def __iter__(self) -> Iterator[int]:
        for run in self.runs:
            yield from run

    def __contains__(self, device_id: object) -> bool:
        return any(device_id in run for run in self.runs)

    def __or__(self, other: "IdSet") -> "IdSet":
        return self._swept(other, _MINE, _THEIRS, _BOTH)

    def __and__(self, other: "IdSet") -> "IdSet":
        return self._swept(other, _BOTH)

    def __sub__(self, other: "IdSet") -> "IdSet":
        return self._swept(other, _MINE)

    def highest(self, count: int) -> "IdSet":
        """The `count` largest ids, or all where there are fewer."""
        taken: list[range] = []
        for run in reversed(self.runs):
            if count <= 0:
                break
            taken.append(run[-count:])
            count -= len(taken[-1])
        return IdSet(tuple(reversed(taken)))

    def lowest(self, count: int) -> "IdSet":
        """The `count` smallest ids, or all where there are fewer."""
        return self - self.highest(len(self) - count)

    @property
    def end(self) -> int:
        """One more than the largest id; 0 for the empty set."""
        return self.runs[-1].stop if self.runs else 0

    def _swept(self, other: "IdSet", *kept: int) -> "IdSet":
        """Sweep over both sets' ends, keeping the stretches whose state is one of `kept`."""
        toggles: defaultdict[int, int] = defaultdict(int)
        for side, runs in ((_MINE, self.runs), (_THEIRS, other.runs)):
            for run in runs:
                toggles[run.start] ^= side
                toggles[run.stop] ^= side
        state, since, result = 0, -1, []
        for cut in sorted(toggles):
            state ^= toggles[cut]
            if since < 0 and state in kept:
                since = cut
            elif since >= 0 and state not in kept:
                result.append(range(since, cut))
                since = -1
        return IdSet(tuple(result))


class DeviceList(NamedTuple):
    """The units that exist, and which of them are unhealthy (a subset)."""

    ids: IdSet = IdSet()
    unhealthy: IdSet = IdSet()

    @property
    def healthy(self) -> IdSet:
        """The units the kubelet may allocate."""
        return self.ids - self.unhealthy


class PublishedList(NamedTuple):
    """What is listed now: the units, their frame, and the fault that makes Allocate refuse."""

    device_list: DeviceList
    frame: bytes
    fault: str | None = None


class DeviceListEncoder:
    """Turns inventories into serialized ListAndWatchResponse messages, at the cost of their runs.

    Rows of all ids up to the largest one seen are kept in at most two byte strings, one for each
    health (about 6 MB at 220,000 devices), and frames are cut out of them. Ids stay below
    `units.MAX_UNITS`, so no frame is over the kubelet's limit: where the word Unhealthy would not
    fit on every device it is left out, which the kubelet takes for unhealthy as well.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._end = 0

    def encode(self, device_list: DeviceList) -> bytes:
        """Serialize the list, in ascending order of ids."""
        if device_list.ids.end > self._end:
            self._end = device_list.ids.end
            self._rows.clear()
        unhealthy = self.unhealthy_field
        stretches = [(run, _HEALTHY) for run in device_list.healthy.runs]
        stretches += [(run, unhealthy) for run in device_list.unhealthy.runs]
        stretches.sort(key=lambda stretch: stretch[0].start)
        return b"".join(self._cut(run, health) for run, health in stretches)

    @property
    def unhealthy_field(self) -> bytes:
        """The health field of unhealthy devices: the word, or nothing in a very long list."""
        words_bytes = rows_bytes(self._end, _ROW_HEAD_BYTES + len(_UNHEALTHY))
        return _UNHEALTHY if words_bytes <= KUBELET_MESSAGE_BYTES else b""

    def _cut(self, run: range, health: bytes) -> memoryview:
        if health not in self._rows:
            self._rows[health] = _rows(self._end, health)
        row_bytes = _ROW_HEAD_BYTES + len(health)
        start, stop = rows_bytes(run.start, row_bytes), rows_bytes(run.stop, row_bytes)
        return memoryview(self._rows[health])[start:stop]


def _rows(count: int, health: bytes) -> bytes:
    """Serialize the devices 0 … count−1: field 1 of the list, holding field 1 (the id) and health.

    Between two ids of as many digits stands always the same text, so they are joined by it.
    """
    parts: list[bytes] = []
    first, digits = 0, 1
    while first < count:
        last = min(count, 10**digits)
        head = bytes((_FIELD_1, 2 + digits + len(health), _FIELD_1, digits))
        between = (health + head).decode("latin-1")
        parts += (head, between.join(map(str, range(first, last))).encode("latin-1"), health)
        first, digits = last, digits + 1
    return b"".join(parts)
