"""Parses what iTrustee's driver reports: memory by trusted application, and long calls."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

_TOTAL: Final = re.compile(r"TotalMem:(\d{1,10})\b")
_APPLICATION: Final = re.compile(r"ta_name:(.{1,64}?) ta_pmem:(\d{1,10})\b")

_UNITS_BYTES: Final = (1, 1024, 4096, 1024**2)
_TOLERANCE: Final = 0.1
"""The driver's total and our trusted application's may be taken at different places."""


def applications(memstat: str, total_bytes: int) -> Mapping[str, int]:
    """Give the bytes that each trusted application uses, by its name; all its instances together.

    The driver doesn't say in which unit its numbers are. The unit is the one in which its total
    equals the TEE's; if none does, the result is empty.
    """
    total = _TOTAL.search(memstat)
    fitting = [
        unit
        for unit in _UNITS_BYTES
        if total and abs(int(total[1]) * unit - total_bytes) <= _TOLERANCE * total_bytes
    ]
    if not fitting:
        return {}
    used = Counter[str]()
    for name, amount in _APPLICATION.findall(memstat):
        used["".join(filter(str.isprintable, name))] += int(amount) * fitting[0]
    return used


# ---- calls that take long

KERNEL_LOG: Final = "/dev/kmsg"
_RECORD_BYTES: Final = 8192
_MOST_RECORDS: Final = 100_000
_LONG_CALL: Final = re.compile(
    r"\d+,\d+,(\d{1,18}),[^;]*;.*\[cmd_monitor_tick\] pid=(\d{1,10}),pname=([^,]{1,32}),.*"
    r"running with timedif="
)
"""A record's level, number and microseconds since the start, and the driver's words."""


class LongCall(NamedTuple):
    """A process that was in the TEE for over 10 s, as the driver noted it."""

    pid: int
    name: str
    ago_seconds: float


def long_calls(path: str, uptime_seconds: float) -> list[LongCall]:
    """Read from the kernel's log who was long in the TEE, the newest last.

    Raises:
        OSError: the log can't be read.
    """
    calls: dict[int, LongCall] = {}
    for record in _records(path):
        if found := _LONG_CALL.match(record):
            ago_seconds = max(0.0, uptime_seconds - int(found[1]) / 1e6)
            pid, name = int(found[2]), "".join(filter(str.isprintable, found[3]))
            calls.pop(pid, None)
            calls[pid] = LongCall(pid, name, ago_seconds)
    return [*calls.values()]


def _records(path: str) -> Iterator[str]:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for _ in range(_MOST_RECORDS):
            try:
                record = os.read(file, _RECORD_BYTES)
            except BlockingIOError:
                return
            except BrokenPipeError:
                # The record was overwritten meanwhile: the next read gives the oldest there is.
                continue
            if not record:
                return
            yield record.decode("utf-8", "replace")
    finally:
        os.close(file)
