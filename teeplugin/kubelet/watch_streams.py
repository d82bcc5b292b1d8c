"""The ListAndWatch streams that are open."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import anyio

from teeplugin.primitives.signal import Signal

PROCESSING_SECONDS = 0.05
PROCESSING_SECONDS_A_BYTE = 0.5e-6
"""Twice what a kubelet 1.36 was seen to spend on a list: 0.34 s on 65,536 devices, 1.3 MB."""


class WatchStream:
    """One client's open ListAndWatch call; `user_agent` names the client's gRPC library."""

    def __init__(self, serial: int, user_agent: str = "") -> None:
        self.serial = serial
        self.user_agent = user_agent
        self.ended = anyio.Event()
        self.processed_at = 0.0
        self._scope = anyio.CancelScope()

    def sent(self, list_bytes: int) -> None:
        """Note that a list of so many bytes was sent: its client is busy with it for a while."""
        self.processed_at = (
            monotonic() + PROCESSING_SECONDS + list_bytes * PROCESSING_SECONDS_A_BYTE
        )

    def end(self) -> None:
        """End the stream from our side; the client sees it end well."""
        self._scope.cancel()


class WatchStreams:
    """All open streams, numbered in the order in which they were opened."""

    def __init__(self) -> None:
        self._open: dict[int, WatchStream] = {}
        self._recent: deque[WatchStream] = deque(maxlen=64)
        self._opened = Signal()
        self.last_serial = 0

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def opened(self, user_agent: str = "") -> Iterator[WatchStream]:
        """Count a stream as open while the block runs; `end` and `end_all` leave the block."""
        self.last_serial += 1
        stream = WatchStream(self.last_serial, user_agent)
        self._open[stream.serial] = stream
        self._recent.append(stream)
        self._opened.set()
        try:
            with stream._scope:  # noqa: SLF001 - one class in two parts: the handle and its book
                yield stream
        finally:
            del self._open[stream.serial]
            stream.ended.set()

    def user_agents(self) -> tuple[str, ...]:
        """Give what the clients of the open streams call themselves, oldest first."""
        return tuple(stream.user_agent for stream in self._open.values())

    def opened_after(self, serial: int) -> tuple[WatchStream, ...]:
        """Give the streams younger than `serial`, also those that ended."""
        return tuple(stream for stream in self._recent if stream.serial > serial)

    async def another(self, serial: int) -> None:
        """Wait for a stream younger than `serial`."""
        while self.last_serial <= serial:
            await self._opened.after(self._opened.count)

    def end_all(self) -> None:
        """End every open stream."""
        for stream in list(self._open.values()):
            stream.end()

    async def all_ended(self) -> None:
        """Wait until no stream is open any more."""
        for stream in list(self._open.values()):
            await stream.ended.wait()
