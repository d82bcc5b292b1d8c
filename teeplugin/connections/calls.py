"""The calls of one connection, bounded on their way to grpclib's handler; made by protocol.

grpclib would read a message of any size, wait for it for ever, and log a traceback for a bad one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from grpclib import GRPCError, Status
from grpclib.protocol import AbstractHandler, Stream
from h2.errors import ErrorCodes

from teeplugin.connections.frames import PATIENCE_PER_CALL, FrameGate
from teeplugin.connections.held import LONG_BYTES, MOST_HELD_BY_ONE_BYTES, Held

Headers = list[tuple[str, str]]

MOST_REQUEST_BYTES = 4 * 1024 * 1024
"""What the kubelet's own gRPC library takes for one message, where nothing else is said."""

MOST_CALLS = 16
"""At a time on one connection. The kubelet has one watch, and admits pods one after the other."""

REQUEST_SECONDS = 10.0
"""From a call's headers to the end of its message, which the kubelet sends in one go."""

LIST_BYTES = 1_024
"""What is longer waits for its turn: when a list changes, every stream sends it at once."""

SEND_COST = 100
"""Microseconds, with another for each 128 bytes."""

_MESSAGE_HEAD_BYTES = 5
"""Whether it is compressed, and its length."""


class BoundedCalls(AbstractHandler):
    """Bounds what each call reads and sends.

    `may_send` waits until something of a cost may be sent, `give_way` ends the connection.
    """

    def __init__(
        self,
        handler: AbstractHandler,
        gate: FrameGate,
        held: Held,
        may_send: Callable[[int], Awaitable[None]],
        give_way: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._held = held
        self._gate = gate
        self._may_send = may_send
        self._give_way = give_way
        self._live: dict[Stream, Callable[[], None]] = {}
        self._reading: dict[Stream, float] = {}
        self._booked: set[int] = set()
        self._own_bytes = 0
        self._closed = False
        self.began = 0
        self.sending = 0

    @property
    def live(self) -> int:
        """How many calls are under way."""
        return len(self._live)

    def accept(self, stream: Stream, headers: Headers, release_stream: Callable[[], None]) -> None:
        """Take a call; a message's size is known before its bytes are read."""
        if not {":method", ":path"} <= {name for name, _ in headers}:
            stream.reset_nowait(ErrorCodes.PROTOCOL_ERROR)
            release_stream()
            return
        # Nobody reads them, and grpclib fails on those that aren't base 64.
        headers = [header for header in headers if not header[0].endswith("-bin")]

        def release() -> None:
            if self._live.pop(stream, None) is not None:
                self._reading.pop(stream, None)
                self._gate.earn(PATIENCE_PER_CALL)
                release_stream()

        self.began += 1
        self._live[stream] = release
        self._reading[stream] = time.monotonic()
        self._bound_reading(stream)
        self._bound_sending(stream)
        self._handler.accept(stream, headers, release)

    def cancel(self, stream: Stream) -> None:
        """End a call that the peer gave up."""
        release = self._live.get(stream)
        if release is None:
            return
        self._handler.cancel(stream)
        # A task that is cancelled before it has begun would never say that it has ended.
        self._gate.earn(-PATIENCE_PER_CALL)
        release()

    def close(self) -> None:
        """End all calls of the connection, and drop what they hold."""
        self._closed = True
        self._handler.close()
        self._live.clear()
        self._reading.clear()
        for serial in self._booked:
            self._held.drop(serial)
        self._booked.clear()

    def end_overdue(self, now: float) -> None:
        """End the calls whose message hasn't come in time."""
        for stream, since in list(self._reading.items()):
            if now - since > REQUEST_SECONDS and stream.wrapper is not None:
                del self._reading[stream]
                stream.wrapper.cancel(
                    GRPCError(
                        Status.DEADLINE_EXCEEDED,
                        f"the call's message took more than {REQUEST_SECONDS:g} s: send it at once",
                    )
                )

    def _bound_reading(self, stream: Stream) -> None:
        recv_data = stream.recv_data
        head = True

        async def recv_bounded(size: int) -> bytes:
            nonlocal head
            is_head, head = head and size == _MESSAGE_HEAD_BYTES, False
            if size > MOST_REQUEST_BYTES:
                raise GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"a message of {size} bytes: at most {MOST_REQUEST_BYTES} are taken",
                )
            booked = self._book(size)
            try:
                data = await recv_data(size)
            except AssertionError:
                raise _cut_short() from None
            finally:
                self._unbook(booked, size)
            if len(data) < size:
                raise _cut_short()
            if is_head:
                _check_head(data)
            else:
                self._reading.pop(stream, None)
            return data

        # grpclib makes the stream, and has no hook between it and its buffer.
        stream.recv_data = recv_bounded  # type: ignore[method-assign]

    def _bound_sending(self, stream: Stream) -> None:
        send_data = stream.send_data

        async def send_bounded(data: bytes, end_stream: bool = False) -> None:
            booked = self._book(len(data))
            self.sending += 1
            try:
                if len(data) >= LIST_BYTES:
                    await self._may_send(SEND_COST + (len(data) >> 7))
                if self._closed:
                    await asyncio.sleep(0)  # this task was cancelled, and learns it here
                await send_data(data, end_stream=end_stream)
            finally:
                self.sending -= 1
                self._unbook(booked, len(data))
            # Its WINDOW_UPDATEs, and a PING for each round trip.
            self._gate.earn(len(data) >> 10)

        # As above.
        stream.send_data = send_bounded  # type: ignore[method-assign]

    def _book(self, size: int) -> int | None:
        if size < LONG_BYTES:
            return None
        if self._own_bytes + size > MOST_HELD_BY_ONE_BYTES:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"this connection's messages together have more than {MOST_HELD_BY_ONE_BYTES} "
                "bytes: let earlier calls end first",
            )
        self._own_bytes += size
        serial = self._held.add(size, self._give_way)
        self._booked.add(serial)
        return serial

    def _unbook(self, serial: int | None, size: int) -> None:
        if serial is not None:
            self._own_bytes -= size
            self._held.drop(serial)
            self._booked.discard(serial)


def _check_head(data: bytes) -> None:
    if data[0]:
        raise GRPCError(Status.UNIMPLEMENTED, "a compressed message: send it uncompressed")


def _cut_short() -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, "the call ended before its message: send it whole")
