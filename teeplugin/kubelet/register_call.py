"""One Register call, which may be pending for minutes, and the streams that it brings."""

from collections.abc import Awaitable, Callable
from time import monotonic

import anyio

from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut
from teeplugin.kubelet.watch_streams import WatchStream, WatchStreams


class RegisterCall:
    """A call under way, and the ListAndWatch streams that were opened since it began.

    `ended` is set when the kubelet has answered, refused or gone; `error` is what came instead of
    an answer. `began` and `ended_at` are monotonic seconds.
    """

    def __init__(self, watch_streams: WatchStreams) -> None:
        self.began = self.ended_at = monotonic()
        self.ended = anyio.Event()
        self.error: CallError | None = None
        self._watch_streams = watch_streams
        self._serial = watch_streams.last_serial
        self._streams: tuple[WatchStream, ...] | None = None

    async def run(self, call: Callable[[], Awaitable[None]]) -> None:
        """Await the call; what it raises is kept as `error`."""
        try:
            await call()
        except CallError as error:
            self.error = error
        self.ended_at = monotonic()
        self.ended.set()

    @property
    def streams(self) -> tuple[WatchStream, ...]:
        """The streams that may be the kubelet's: all up to the first one after the answer."""
        if self._streams is not None:
            return self._streams
        streams = self._watch_streams.opened_after(self._serial)
        if streams and self.ended.is_set():
            self._streams = streams
        return streams

    async def next_stream(self) -> None:
        """Wait for another stream than are in `streams`."""
        await self._watch_streams.another(self._watch_streams.last_serial)

    @property
    def pending_seconds(self) -> float:
        """How long the kubelet has not answered; 0 once it has."""
        return 0.0 if self.ended.is_set() else monotonic() - self.began

    @property
    def may_be_known(self) -> bool:
        """Whether the kubelet may count our socket as connected: the call reached it."""
        return self.error is None or self.is_refused or self.is_unanswered

    @property
    def is_refused(self) -> bool:
        """Whether the kubelet answered that it doesn't take the registration."""
        return isinstance(self.error, CallRefused)

    @property
    def is_unanswered(self) -> bool:
        """Whether the call was given up without an answer."""
        return isinstance(self.error, CallTimedOut)
