"""A gRPC server on a unix socket that limits what each client uses.

The socket's mode and directory keep out everybody but root (docs/security.md). The limits are for
accidents: a broken client, a debugger that leaks connections. Only public names of grpclib and h2
are used.
"""

import asyncio
import socket
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic
from typing import Any, cast

import anyio
from grpclib import GRPCError, Status
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol, Stream
from grpclib.server import Server, request_handler
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import UnknownFrameReceived
from h2.settings import SettingCodes, Settings

from teeplugin.logs.setup import get_logger
from teeplugin.logs.stdlib import RateLimit
from teeplugin.primitives.listening import stop_listening

MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # the default of gRPC libraries, the kubelet's among them
MAX_CONNECTIONS = 64  # the kubelet has two: one from Register, one for its calls
MAX_CALLS = 16  # at a time on a connection; the kubelet has a stream, and admits pods one by one
FIRST_CALL_SECONDS = 10.0  # from the connection to a call; the kubelet gives itself 10 s to dial
MESSAGE_SECONDS = 10.0  # from a call to the end of its message, which clients send in one go
UNREAD_SECONDS = 60.0  # without reading; a kubelet has been seen to be busy with a list for 9 s
PIECE_BYTES = 65_536  # written at once of a list; unread are one for each call, so 1 MiB at most
END_SECONDS = 1.0  # for calls to end by themselves when the server does
LEAVE_SECONDS = 0.2  # for clients to close their connections after that

UNREAD_HEADERS = ("-bin", "grpc-timeout")
"""How headers end that are dropped. Nobody here reads binary ones, and grpclib logs a traceback for
one that isn't base64, as for a deadline that has passed, which its caller keeps anyway."""

_TURNS_TO_CLOSE = 2
"""Of the loop, for transports to close their sockets."""

_H2 = H2Configuration(
    client_side=False,
    header_encoding="ascii",
    # As grpclib's own: a tenth of what an Allocate costs.
    validate_inbound_headers=False,
    validate_outbound_headers=False,
)
_NO_REQUEST = [(":method", ""), (":path", "")]
"""What grpclib looks up in every call's headers; a client that left one out is refused."""

_stream: ContextVar[Stream] = ContextVar("stream")
_log = get_logger()


async def send_encoded(message: bytes) -> None:
    """Answer the current call with an encoded message, in pieces: it is never copied whole."""
    head = b"\0" + len(message).to_bytes(4, "big")  # not compressed, and the length
    await _stream.get().send_data(head + message[:PIECE_BYTES])
    for start in range(PIECE_BYTES, len(message), PIECE_BYTES):
        await _stream.get().send_data(message[start : start + PIECE_BYTES])


class _Stream(Stream):
    """One call: its message, and the time for either side's, are limited."""

    task: asyncio.Task[None]

    def __init__(self, client: "_Client", stream_id: int) -> None:
        super().__init__(client.connection, client.h2, client.transport, stream_id=stream_id)
        self._disconnect = client.disconnect
        self._message_due = asyncio.get_running_loop().time() + MESSAGE_SECONDS
        self._at_head = True

    async def recv_data(self, size: int) -> bytes:
        """Read the head of the call's message, then the rest; GRPCError says what is wrong."""
        at_head, self._at_head = self._at_head, False
        if size > MAX_MESSAGE_BYTES:
            text = f"a message of {size} bytes: at most {MAX_MESSAGE_BYTES} are taken"
            raise GRPCError(Status.RESOURCE_EXHAUSTED, text)
        try:
            async with asyncio.timeout_at(self._message_due):
                data = await super().recv_data(size)
        except TimeoutError:
            text = f"the message took more than {MESSAGE_SECONDS:g} s: send it at once"
            raise GRPCError(Status.DEADLINE_EXCEEDED, text) from None
        except AssertionError:  # grpclib's, where the call ends within its message
            data = b""
        if len(data) < size:
            text = "the call ended before its message did: send it whole"
            raise GRPCError(Status.INVALID_ARGUMENT, text)
        if at_head and data[0]:
            raise GRPCError(Status.UNIMPLEMENTED, "a compressed message: send it uncompressed")
        return data

    async def send_data(self, data: bytes, end_stream: bool = False) -> None:
        """Send a piece; a client whose window stays full is disconnected."""
        try:
            async with asyncio.timeout(UNREAD_SECONDS):
                await super().send_data(data, end_stream=end_stream)
        except TimeoutError:
            self._disconnect("not reading")
            await asyncio.sleep(0)  # where the cancellation of this call arrives


class _Client(H2Protocol, AbstractHandler):
    """One client's connection, open `since` a monotonic time; `calls` are those under way."""

    def __init__(self, server: "GrpcServer") -> None:
        super().__init__(self, Configuration(), _H2)
        self._server = server
        self.since = monotonic()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._leaves = False

    @property
    def calls(self) -> "list[_Stream]":
        """The calls that are under way."""
        return cast("list[_Stream]", list(self.processor.streams.values()))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client; where there are too many, the oldest idle one goes, or else it."""
        self.transport = cast("asyncio.Transport", transport)
        self.h2 = H2Connection(_H2)
        limit = {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_CALLS}
        self.h2.local_settings = Settings(client=False, initial_values=limit)
        self.h2.initiate_connection()
        # A window for each call: what one call leaves unread holds up no other.
        self.h2.increment_flow_control_window((MAX_CALLS - 1) * 65_535)
        self.connection = Connection(self.h2, self.transport, config=self.config)
        self.connection.flush()
        self.processor = EventsProcessor(self, self.connection)
        if not self._server.clients_may_idle:
            self._disconnect_in(FIRST_CALL_SECONDS, "no call")
        clients = self._server.clients
        if len(clients) >= self._server.places:
            idle = (each for each in clients if not each.calls)
            next(idle, self).disconnect("too many connections")
        if not self.transport.is_closing():
            clients[self] = None

    def data_received(self, data: bytes) -> None:
        """Handle frames; malformed ones, or more calls than agreed on, end the connection."""
        if self._leaves:
            return
        try:
            for event in self.connection.feed(data):
                if not isinstance(event, UnknownFrameReceived):  # HTTP/2: to be ignored
                    self.processor.process(event)
            if not self.connection.is_closing():
                self.connection.flush()
        except Exception as error:  # noqa: BLE001 - h2 and grpclib raise many kinds
            self.disconnect(f"bad frames: {type(error).__name__}", getattr(error, "error_code", 1))
        if self.transport.is_closing():  # after a GOAWAY of the client's, too
            self.disconnect()

    def pause_writing(self) -> None:
        """Take nothing more from a client that doesn't read, and give it some time."""
        super().pause_writing()
        self.transport.pause_reading()
        self._disconnect_in(UNREAD_SECONDS, "not reading")

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        super().resume_writing()
        self.transport.resume_reading()
        self._timers["not reading"].cancel()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the calls and forget the client."""
        for timer in self._timers.values():
            timer.cancel()
        self._server.forget(self)
        super().connection_lost(exc)

    def accept(self, stream: Stream, headers: Any, release_stream: Callable[[], None]) -> None:
        """Start a call, on a stream of ours in the place of grpclib's."""
        if timer := self._timers.get("no call"):
            timer.cancel()
        headers = [each for each in headers if not each[0].endswith(UNREAD_HEADERS)]
        call = _Stream(self, cast("int", stream.id))
        release_stream = self.processor.register(call)
        call.task = asyncio.get_running_loop().create_task(
            self._server.answer(call, _NO_REQUEST + headers)
        )
        call.task.add_done_callback(lambda _: release_stream())

    def cancel(self, stream: Stream) -> None:
        """End a call that the client gave up."""
        cast("_Stream", stream).task.cancel()

    def close(self) -> None:
        """End all calls."""
        for call in self.calls:
            call.task.cancel()

    def leave(self) -> None:
        """Send a GOAWAY and nothing more, and leave it to the client to close the connection.

        A client that is just writing when we close loses what it has not read, such as how a call
        ended: its library gives the connection up at the first error.
        """
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.disconnect()
            return
        self.h2.close_connection()
        self.connection.flush()
        self._leaves = True
        self.transport.write_eof()

    def disconnect(self, reason: str = "", code: int = 0) -> None:
        """Close the connection after a GOAWAY with the reason; what isn't read by now is lost."""
        self._server.forget(self)
        if self._leaves:
            self.transport.abort()
        elif not self.transport.is_closing():
            if reason:
                self._server.log_disconnected(reason)
            self.h2.close_connection(code, additional_data=reason.encode())
            self.connection.flush()
            self.processor.close(reason)
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _disconnect_in(self, seconds: float, reason: str) -> None:
        loop = asyncio.get_running_loop()
        self._timers[reason] = loop.call_later(seconds, self.disconnect, reason)


class GrpcServer:
    """Serves a gRPC service on a listening socket, until `end`; the socket's file isn't its own.

    With `clients_may_idle` their first call may come at any time: the kubelet connects to a DRA
    driver when it registers, and calls it when a pod comes.
    """

    def __init__(self, service: Any, codec: CodecBase, *, clients_may_idle: bool = False) -> None:
        self.clients_may_idle = clients_may_idle
        self.clients: dict[_Client, None] = {}
        self.places = MAX_CONNECTIONS
        self._all_gone = asyncio.Event()
        self.log_limit = RateLimit(most=1)
        self._mapping, self._codec = service.__mapping__(), codec
        self._events = Server((), codec=codec).__dispatch__

    async def serve(self, listener: socket.socket) -> None:
        """Listen and serve."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Client(self), sock=listener)

    def log_disconnected(self, reason: str) -> None:
        """Log that a client was disconnected, once a minute for each reason."""
        for _ in self.log_limit.ended():
            pass  # closes the windows that are over
        if self.log_limit.admits("clients", reason):
            _log.warning("client_disconnected", reason=reason)

    async def connect(self, client: socket.socket) -> None:
        """Serve one connected client."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: _Client(self), client)

    def forget(self, client: _Client) -> None:
        """Take a client off the list, if it is there."""
        self.clients.pop(client, None)
        if not self.clients:
            self._all_gone.set()

    async def end(self) -> None:
        """Stop listening, give calls some time to end by themselves, close all connections."""
        self.places = 0
        self._all_gone.clear()
        await stop_listening(self._listener)
        calls = [call for client in self.clients for call in client.calls]
        with anyio.CancelScope(shield=True):
            if calls:
                await asyncio.wait([call.task for call in calls], timeout=END_SECONDS)
            for client in list(self.clients):
                client.leave()
            if self.clients:
                with anyio.move_on_after(LEAVE_SECONDS):
                    await self._all_gone.wait()
            for client in list(self.clients):
                client.disconnect()
            for _ in range(_TURNS_TO_CLOSE):
                await asyncio.sleep(0)

    async def answer(self, stream: Stream, headers: Any) -> None:
        """Answer a call."""
        _stream.set(stream)
        await request_handler(
            self._mapping, stream, headers, self._codec, None, self._events, lambda: None
        )
