"""What a client's connection brings before any message of it is read: HTTP/2's frames."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import Any

from structlog.testing import capture_logs

from teeplugin.kubelet.device_plugin_service import RequestCodec
from teeplugin.kubelet.grpc_server import GrpcServer
from tests.fuzz.target import Target
from tests.fuzz.targets.kubelet import service_of
from tests.http2_wire import PREFACE

_HEAD_BYTES = 9
_KINDS = 9
"""DATA to CONTINUATION: what we may send. A server pushes nothing, but that is h2's to keep."""

_STEPS_FOR_A_PIECE = 3
"""Of the loop: the kernel has the bytes for it at once, and a call's task begins in the next."""

_MAX_STEPS = 20_000
"""Of the loop, until nothing is left of a client that went; a dozen are usual."""


def _ends_of_frames(data: bytes | bytearray) -> Iterator[int]:
    end = 0
    while len(data) - end >= _HEAD_BYTES:
        end += _HEAD_BYTES + int.from_bytes(data[end : end + 3], "big")
        if end > len(data):
            return
        yield end


# A whole connection, of a real socket


class _Complaints(logging.Handler):
    """What grpclib and asyncio have to say of a connection: nothing is to go wrong in them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


_LOOP = asyncio.new_event_loop()


def conversation(data: bytes) -> None:
    """Whatever comes, we answer in whole frames, and keep nothing of a client that has gone.

    The first byte tells in how large pieces the others come, 0 at once. Unless they look like a
    preface of their own they have one.
    """
    piece_bytes, sent = (data[0] if data else 0), data[1:]
    if not sent.startswith(PREFACE[:1]):
        sent = PREFACE + sent
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    _LOOP.set_exception_handler(lambda _, context: complaints.texts.append(str(context)))
    try:
        with capture_logs():  # the lines of clients that were cut: they are expected here
            answered = _LOOP.run_until_complete(_conversed(sent, piece_bytes or len(sent)))
    finally:
        logging.getLogger().removeHandler(complaints)
    assert not complaints.texts, complaints.texts
    ends = [0, *_ends_of_frames(answered)]
    assert ends[-1] == len(answered), "we broke off within a frame"
    assert all(answered[end + 3] <= _KINDS for end in ends[:-1]), answered


async def _conversed(sent: bytes, piece_bytes: int) -> bytes:
    """Send it all to a server, go, and give what it answered before."""
    service: Any = service_of(fault=None)
    server = GrpcServer(service, RequestCodec())
    client, served = socket.socketpair()
    client.setblocking(False)
    before = asyncio.all_tasks()
    with client:
        await server.connect(served)
        for at in range(0, len(sent), piece_bytes):
            try:
                client.send(sent[at : at + piece_bytes])
            except OSError:  # it was cut, or isn't read from
                break
            await _steps(_STEPS_FOR_A_PIECE)
        answered = _received(client)
    for _ in range(_MAX_STEPS):
        if not server.clients and asyncio.all_tasks() <= before:
            break
        await _steps(1)
    assert not server.clients, "the connection is still open"
    assert asyncio.all_tasks() <= before, asyncio.all_tasks() - before
    return answered


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _received(client: socket.socket) -> bytes:
    answered = b""
    while True:
        try:
            piece = client.recv(65_536)
        except OSError:
            return answered
        if not piece:
            return answered
        answered += piece


_HEADER_FRAME = b"\x01\x04\0\0\0\x01"
"""A HEADERS frame's kind, its flag for the end of headers, and the first stream."""

TARGETS = (
    Target(
        "connection",
        conversation,
        words=(
            *(PREFACE, b"\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\x01\0\0\0\0", _HEADER_FRAME),
            *("/v1beta1.DevicePlugin/Allocate", "/v1beta1.DevicePlugin/ListAndWatch", "te"),
            *(
                "application/grpc",
                ":path",
                ":method",
                "grpc-timeout",
                "grpc-encoding",
                "1n",
                "a-bin",
            ),
            *(b"\0\0\0\0\x05\x0a\x03\x0a\x010", b"\0\0\0\0\0", b"\0\0\x04\x03\0\0\0\0\x01"),
        ),
        most_bytes=3000,
    ),
)
