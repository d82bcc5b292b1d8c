"""The book of long messages that wait for their peers: unread requests, unsent lists; for calls.

A call holds 4 MiB at most, but there may be thousands, so all together have a bound as well.
"""

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

LONG_BYTES = 16_384
"""From here on a message is booked: a frame's worth is what any call may hold."""

MOST_HELD_BYTES = 64 * 1024 * 1024
"""Of all long messages: 16 of the longest. With it the plugin stays below 200 MB."""

MOST_HELD_BY_ONE_BYTES = 12 * 1024 * 1024
"""Of one connection's: the kubelet's list, and an Allocate of as many ids, with its answer."""

GIVES_WAY_SECONDS = 1.0
"""A message that waits longer gives way to others, the oldest first; a healthy peer takes tens of
milliseconds for the longest."""


class _Entry(NamedTuple):
    size_bytes: int
    since: float
    give_way: Callable[[], None]


class Held:
    """What all connections of a server hold."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._serial = itertools.count()
        self._entries: dict[int, _Entry] = {}
        self.total_bytes = 0

    def add(self, size_bytes: int, give_way: Callable[[], None]) -> int:
        """Book a message, by a number; `give_way` ends whoever holds it, which drops it."""
        now = self._clock()
        serial = next(self._serial)
        self._entries[serial] = _Entry(size_bytes, now, give_way)
        self.total_bytes += size_bytes
        for other, entry in list(self._entries.items()):
            if self.total_bytes <= MOST_HELD_BYTES or now - entry.since < GIVES_WAY_SECONDS:
                break
            if other in self._entries:  # one that gives way takes its connection's others along
                entry.give_way()
                self.drop(other)
        return serial

    def drop(self, serial: int) -> None:
        """Take it out of the book; more than once does no harm."""
        entry = self._entries.pop(serial, None)
        if entry is not None:
            self.total_bytes -= entry.size_bytes
