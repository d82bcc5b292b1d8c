"""A gRPC server that answers every call in one way, most of them against the rules."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from h2.exceptions import ProtocolError

HEADERS = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]

Shape = Callable[[H2Connection, int], None]
"""Puts an answer to the call of this stream into the connection."""


def answers(
    data: bytes = b"",
    headers: list[tuple[str, str]] = HEADERS,
    trailers: list[tuple[str, str]] | None = OK,
) -> Shape:
    def shape(connection: H2Connection, stream: int) -> None:
        connection.send_headers(stream, headers, end_stream=not data and trailers is None)
        if data:
            connection.send_data(stream, data, end_stream=trailers is None)
        if trailers is not None:
            connection.send_headers(stream, trailers, end_stream=True)

    return shape


def message(content: bytes, *, length: int | None = None, compressed: bool = False) -> bytes:
    size = len(content) if length is None else length
    return bytes([compressed]) + size.to_bytes(4) + content


def _resets_late(connection: H2Connection, stream: int) -> None:
    connection.send_headers(stream, HEADERS)
    connection.reset_stream(stream, 8)


def _goes_away(connection: H2Connection, _stream: int) -> None:
    connection.close_connection()


def _speaks_no_http2(connection: H2Connection, _stream: int) -> None:
    connection.clear_outbound_data_buffer()
    connection._data_to_send += b"HTTP/1.1 400 Bad Request\r\n\r\n"


def _hangs_up(connection: H2Connection, _stream: int) -> None:
    connection.clear_outbound_data_buffer()


ODD_ANSWERS: dict[str, Shape] = {
    "OK without a message": answers(),
    "OK in the headers": answers(headers=HEADERS + OK, trailers=None),
    "a message cut short": answers(message(b"abc", length=100)),
    "a prefix cut short": answers(b"\0\0"),
    "a message cut short without trailers": answers(message(b"abc", length=100), trailers=None),
    "a compressed message": answers(message(b"abc", compressed=True)),
    "a message without trailers": answers(message(b""), trailers=None),
    "trailers without a status": answers(message(b""), trailers=[("x", "y")]),
    "a status that is no number": answers(message(b""), trailers=[("grpc-status", "x")]),
    "a status that nobody knows": answers(message(b""), trailers=[("grpc-status", "99")]),
    "a refusal": answers(trailers=[("grpc-status", "2"), ("grpc-message", "not today")]),
    "no HTTP status": answers(message(b""), headers=HEADERS[1:]),
    "another HTTP status": answers(message(b""), headers=[(":status", "503"), HEADERS[1]]),
    "no content type": answers(message(b""), headers=HEADERS[:1]),
    "metadata that is no base64": answers(message(b""), headers=[*HEADERS, ("x-bin", "a")]),
    "a reset": lambda connection, stream: connection.reset_stream(stream),
    "a reset after the headers": _resets_late,
    "GOAWAY": _goes_away,
    "no HTTP/2": _speaks_no_http2,
    "the end of the connection": _hangs_up,
}
"""Each that is no good answer to any call."""

NO_ASCII = answers(message(b""), headers=[*HEADERS, ("x", "\xe4")])
"""Another, which grpclib's protocol fails on so that asyncio logs it and ends the connection."""


class FakePeer:
    """What it is asked and how it answers, which a test may change meanwhile."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.calls = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, ProtocolError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()
            with anyio.CancelScope(shield=True), contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = H2Connection(
            H2Configuration(client_side=False, validate_outbound_headers=False)
        )
        connection.initiate_connection()
        writer.write(connection.data_to_send())
        while data := await reader.read(65536):
            ended = [
                each for each in connection.receive_data(data) if isinstance(each, StreamEnded)
            ]
            for event in ended:
                self.calls += 1
                self.shape(connection, event.stream_id)
            writer.write(connection.data_to_send())
            if ended and self.shape is _hangs_up:
                await writer.drain()
                break


@asynccontextmanager
async def fake_peer(path: Path, shape: Shape) -> AsyncIterator[FakePeer]:
    peer = FakePeer(shape)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(path))
        listener.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_accept, peer, listener, tasks)
            yield peer
            tasks.cancel_scope.cancel()
    path.unlink(missing_ok=True)


async def _accept(peer: FakePeer, listener: socket.socket, tasks: TaskGroup) -> None:
    while True:
        # Not loop.sock_accept: cancelled in the turn in which a client comes, it fails in the loop.
        await anyio.wait_readable(listener)
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            continue
        client.setblocking(False)
        # Nobody else knows of it yet, so that it must not be left by a cancellation.
        with anyio.CancelScope(shield=True):
            streams = await asyncio.open_unix_connection(sock=client)
        tasks.start_soon(peer.connected, *streams)
