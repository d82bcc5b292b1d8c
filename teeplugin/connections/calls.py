"""The calls of one connection, bounded on their way to grpclib's handler; made by protocol.

grpclib would read a message of any size, wait for it for ever, and log a traceback for a bad one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import cast

from grpclib import GRPCError, Status
from grpclib.protocol import AbstractHandler, Buffer, Stream
from h2.errors import ErrorCodes

from teeplugin.connections.frames import PATIENCE_PER_CALL, FrameGate
from teeplugin.connections.held import LONG_BYTES, MOST_HELD_BY_ONE_BYTES, Held
from teeplugin.connections.turns import turns_of_calls

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

MOST_SEND_COST = 2_000
"""Of one list: that it is long isn't its reader's doing. It goes out in pieces anyway."""

_MESSAGE_HEAD_BYTES = 5
"""Whether it is compressed, and its length."""

_NOT_FOR_US = ("-bin", "grpc-timeout")
"""How headers end that are dropped: nobody reads binary ones, and grpclib fails on what isn't base
64. A deadline is kept by the caller, who resets the call; grpclib logs an error if it has passed.
"""


class BoundedCalls(AbstractHandler):
    """Bounds what each call reads and sends.

    `may_use` waits until something of a cost may be done, `may_send` until it may be sent;
    `give_way` ends the connection. `held_bytes` is the book's.
    """

    def __init__(
        self,
        handler: AbstractHandler,
        gate: FrameGate,
        held: Held,
        *,
        may_use: Callable[[int], Awaitable[None]],
        may_send: Callable[[int], Awaitable[None]],
        give_way: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._held = held
        self._gate = gate
        self._may_use = may_use
        self._may_send = may_send
        self.give_way = give_way
        self._live: dict[Stream, Callable[[], None]] = {}
        self._reading: dict[Stream, float] = {}
        self._booked: dict[Stream, int] = {}
        self.held_bytes = 0
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
        headers = [header for header in headers if not header[0].endswith(_NOT_FOR_US)]

        def release() -> None:
            if self._live.pop(stream, None) is not None:
                self._reading.pop(stream, None)
                self._held.drop(self, self._booked.pop(stream, 0))
                self._gate.earn(PATIENCE_PER_CALL)
                release_stream()
                _empty(stream.buffer)

        self.began += 1
        self._live[stream] = release
        self._reading[stream] = time.monotonic()
        self._bound_reading(stream)
        self._bound_sending(stream)
        turns = turns_of_calls.set(self._may_use)
        self._handler.accept(stream, headers, release)
        turns_of_calls.reset(turns)

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
        for stream in self._live:
            _empty(stream.buffer)
        self._live.clear()
        self._reading.clear()
        self._booked.clear()
        self._held.drop_all(self)

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
            self._book(stream, size)
            try:
                data = await recv_data(size)
            except AssertionError:
                raise _cut_short() from None
            if len(data) < size:
                raise _cut_short()
            if is_head:
                _check_head(data)
            else:
                self._reading.pop(stream, None)
                # A call has one message: what follows would only be kept.
                stream.buffer.add = partial(_refuse, stream)  # type: ignore[method-assign]
            return data

        # grpclib makes the stream, and has no hook between it and its buffer.
        stream.recv_data = recv_bounded  # type: ignore[method-assign]

    def _bound_sending(self, stream: Stream) -> None:
        send_data = stream.send_data

        async def send_bounded(data: bytes, end_stream: bool = False) -> None:
            self.sending += 1
            try:
                if len(data) >= LIST_BYTES:
                    await self._may_send(min(SEND_COST + (len(data) >> 7), MOST_SEND_COST))
                if self._closed:
                    await asyncio.sleep(0)  # this task was cancelled, and learns it here
                await send_data(data, end_stream=end_stream)
            finally:
                self.sending -= 1
            # Its WINDOW_UPDATEs, and a PING for each round trip.
            self._gate.earn(len(data) >> 10)

        # As above.
        stream.send_data = send_bounded  # type: ignore[method-assign]

    def _book(self, stream: Stream, size: int) -> None:
        if size < LONG_BYTES or self._closed:
            return
        if self.held_bytes + size > MOST_HELD_BY_ONE_BYTES:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"this connection's requests together have more than {MOST_HELD_BY_ONE_BYTES} "
                "bytes: let earlier calls end first",
            )
        self._booked[stream] = self._booked.get(stream, 0) + size
        self._held.add(self, size)


def _refuse(stream: Stream, _data: bytes, ack_size: int) -> None:
    stream.connection.ack(cast("int", stream.id), ack_size)


def _empty(buffer: Buffer) -> None:
    """Drop what came for a call that has ended: grpclib remembers its stream for a while."""
    while not buffer._unacked.empty():  # noqa: SLF001 - it has no method for that
        buffer._unacked.get_nowait()  # noqa: SLF001 - likewise
    buffer._acked.clear()  # noqa: SLF001 - likewise


def _check_head(data: bytes) -> None:
    if data[0]:
        raise GRPCError(Status.UNIMPLEMENTED, "a compressed message: send it uncompressed")


def _cut_short() -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, "the call ended before its message: send it whole")
