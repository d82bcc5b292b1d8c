"""The book of long requests that are on their way in or being answered; for calls.

A request has 4 MiB at most, but there may be thousands, so all together have a bound as well. The
lists that we send are in no book: all streams share their bytes.
"""

from typing import Protocol

LONG_BYTES = 16_384
"""From here on a request is booked: a frame's worth is what any call may hold."""

MOST_HELD_BYTES = 64 * 1024 * 1024
"""Of all long requests: 16 of the longest. With it the plugin stays below 200 MB."""

MOST_HELD_BY_ONE_BYTES = 12 * 1024 * 1024
"""Of one connection's: the kubelet's longest Allocate has 2 MB, and it waits for the answer."""


class Holder(Protocol):
    """A connection's calls; the bytes of its requests are the book's to count."""

    held_bytes: int

    def give_way(self) -> None:
        """End the connection, and with it whatever it holds."""


class Held:
    """What all connections of a server hold."""

    def __init__(self) -> None:
        self._holders: dict[Holder, None] = {}

    @property
    def total_bytes(self) -> int:
        """Of all requests in the book."""
        return sum(holder.held_bytes for holder in self._holders)

    def add(self, holder: Holder, size_bytes: int) -> None:
        """Book a request; where all are too many, whoever holds most gives way."""
        holder.held_bytes += size_bytes
        self._holders[holder] = None
        while self.total_bytes > MOST_HELD_BYTES:
            largest = max(self._holders, key=lambda each: each.held_bytes)
            self.drop_all(largest)
            largest.give_way()

    def drop(self, holder: Holder, size_bytes: int) -> None:
        """Take a request out of the book."""
        holder.held_bytes -= size_bytes
        if not holder.held_bytes:
            self._holders.pop(holder, None)

    def drop_all(self, holder: Holder) -> None:
        """Take all of a holder's out of the book; more than once does no harm."""
        holder.held_bytes = 0
        self._holders.pop(holder, None)
