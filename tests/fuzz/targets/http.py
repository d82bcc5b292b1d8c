"""HTTP, both ways: what reaches the telemetry's port, and what the status page is taken for."""

import asyncio
import contextlib
import http.client
import io
from dataclasses import replace
from http import HTTPStatus
from typing import Any, cast
from unittest import mock

from teeplugin.commands import status
from teeplugin.commands.doctor import page, report
from teeplugin.commands.doctor.evidence import (
    Evidence,
    PageState,
    RecordsSeen,
    SocketsSeen,
)
from teeplugin.commands.doctor.examine import examine
from teeplugin.config.settings import ConfigError
from teeplugin.config.sources import load
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.telemetry.http_server import MAX_HEADER_BYTES, Answer, HttpServer
from tests.fuzz.target import Target, check_line, result_of

_BODY = b"hello\n"
_EVIDENCE = Evidence(
    loaded=load([], {}),
    sockets=SocketsSeen(SocketState.LISTENS),
    records=RecordsSeen(error="is away", fix="start the kubelet"),
)
_ANSWERS = {200, 400, 404, 405, 413, 414, 431, 501, 505}


async def _page() -> Answer:
    return Answer(HTTPStatus.OK, _BODY)


class _Peer:
    """Both ends of a connection over which `data` arrives in pieces of `piece_bytes`."""

    def __init__(self, data: bytes, piece_bytes: int) -> None:
        self._data = io.BytesIO(data)
        self._piece_bytes = piece_bytes
        self.written = b""
        self.transport = self

    async def read(self, most_bytes: int) -> bytes:
        return self._data.read(min(most_bytes, self._piece_bytes))

    def write(self, data: bytes) -> None:
        self.written += data

    async def drain(self) -> None:
        pass

    def abort(self) -> None:
        pass


class _Socket:
    """A connection on which an answer has arrived."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(cast("io.RawIOBase", io.BytesIO(self._data)))

    def sendall(self, _data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


def requests(data: bytes) -> None:
    """Nothing, or an answer that is whole; the same in whatever pieces the request arrives."""
    answers = [_answered(data, piece_bytes) for piece_bytes in (MAX_HEADER_BYTES, 7)]
    heads = [answer.partition(b"\r\n")[0] for answer in answers]
    # A head that is too long may be read all the same where it arrives at once.
    assert heads[0] == heads[1] or len(data) >= MAX_HEADER_BYTES, heads
    if not answers[0]:
        return
    is_head = data.lstrip(b"\r\n").startswith(b"HEAD ")
    response = http.client.HTTPResponse(
        cast("Any", _Socket(answers[0])), method="HEAD" if is_head else "GET"
    )
    response.begin()
    assert response.status in _ANSWERS, response.status
    length = int(response.headers["content-length"])
    if is_head and response.status == HTTPStatus.OK:
        assert length == len(_BODY)
    elif not is_head:
        assert len(response.read()) == length


def _answered(data: bytes, piece_bytes: int) -> bytes:
    peer: Any = _Peer(data, piece_bytes)
    result_of(HttpServer({"/page": _page})._converse(peer, peer))
    return bytes(peer.written)


def status_page(data: bytes) -> None:
    """The status page, by both commands that ask for it.

    An input that doesn't begin as an answer is the body of one.
    """
    if not data.startswith(b"HTTP"):
        data = b"HTTP/1.1 200 OK\r\n\r\n" + data
    _status(data)
    _doctor(data)


def _status(data: bytes) -> None:
    """A page for people and exit status 0 or 1, or one line that this is no plugin."""
    for form in ("text", "json"):
        with (
            _answering(data),
            contextlib.redirect_stdout(io.StringIO()) as output,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            try:
                exit_status = status.main(["--format", form, "--listen", "127.0.0.1:9840"])
            except ConfigError as error:
                check_line(error)
                continue
        assert exit_status in (0, status.EXIT_NOT_WELL)
        assert output.getvalue()


def _doctor(data: bytes) -> None:
    """A plugin's status, with which every check ends and all of the report can be shown."""
    with _answering(data):
        seen = asyncio.run(page.look_at_page("127.0.0.1:9840"))
    assert seen.state in (PageState.OURS, PageState.SOMEBODY_ELSE), seen
    assert (seen.status is not None) is (seen.state is PageState.OURS), seen
    told = report.as_text(examine(replace(_EVIDENCE, page=seen)), coloured=False)
    assert "doctor itself failed" not in told, told
    assert told.replace("\n", "").isprintable(), told


def _answering(data: bytes) -> Any:
    """Have whoever connects be answered so."""

    async def opened(*_: object) -> tuple[_Peer, _Peer]:
        peer = _Peer(data, MAX_HEADER_BYTES)
        return peer, peer

    return mock.patch.object(asyncio, "open_connection", opened)


_KEYS = (
    "units",
    "tee",
    "cause",
    "registered",
    "not_registered_reason",
    "settings_problem",
    "settings_misfit",
    "settings_waiting",
    "pod_resources_readable",
)
_DEEPER = ("holders", "events", "last_reading", "capacity", "unhealthy", "namespace", "confirmed")

TARGETS = (
    Target(
        "http-request",
        requests,
        words=(
            *("GET /page HTTP/1.1\r\n", "HEAD ", "Host: a\r\n", "\r\n\r\n", "http://[", "CONNECT "),
            *("Transfer-Encoding: chunked\r\n", "Content-Length: ", "Expect: 100-continue\r\n"),
            *("Connection: upgrade\r\n", "Upgrade: h2c\r\n", "?", "//", "%00", "HTTP/1.0\r\n"),
        ),
        most_bytes=9000,
    ),
    Target(
        "status-page",
        status_page,
        words=(
            *("HTTP/1.1 200 OK\r\n", "Content-Length: ", "Transfer-Encoding: chunked\r\n", "1e300"),
            *(f'"{key}": ' for key in (*_KEYS, *_DEEPER)),
        ),
        most_bytes=3000,
    ),
)
