"""The ListAndWatch streams that are open: kept by the service, watched by the registration."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class WatchStream:
    """One client's open ListAndWatch call."""

    def __init__(self, serial: int) -> None:
        self.serial = serial
        self.ended = anyio.Event()
        self._scope = anyio.CancelScope()

    def end(self) -> None:
        """End the stream from our side; the client sees it end well."""
        self._scope.cancel()


class WatchStreams:
    """All open streams, numbered in the order in which they were opened."""

    def __init__(self) -> None:
        self._open: dict[int, WatchStream] = {}
        self._newest: WatchStream | None = None
        self._opened = anyio.Event()
        self.last_serial = 0

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def opened(self) -> Iterator[WatchStream]:
        """Count a stream as open while the block runs; `end` and `end_all` leave the block."""
        self.last_serial += 1
        stream = WatchStream(self.last_serial)
        self._open[stream.serial] = self._newest = stream
        opened, self._opened = self._opened, anyio.Event()
        opened.set()
        try:
            with stream._scope:  # noqa: SLF001 - one class in two parts: the handle and its book
                yield stream
        finally:
            del self._open[stream.serial]
            stream.ended.set()

    async def first_after(self, serial: int) -> WatchStream:
        """Wait for the first stream that is younger than `serial`; it may have ended since."""
        while True:
            opened = self._opened
            younger = [number for number in self._open if number > serial]
            if younger:
                return self._open[min(younger)]
            if self._newest is not None and self._newest.serial > serial:
                return self._newest
            await opened.wait()

    def end_all(self) -> None:
        """End every open stream."""
        for stream in list(self._open.values()):
            stream.end()

    async def all_ended(self) -> None:
        """Wait until no stream is open any more."""
        for stream in list(self._open.values()):
            await stream.ended.wait()
