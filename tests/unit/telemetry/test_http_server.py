"""The HTTP server against peers that behave, and peers that don't."""

import asyncio
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import anyio
import pytest

from teeplugin.telemetry import http_server
from teeplugin.telemetry.http_server import MAX_CONNECTIONS, Answer, HttpServer
from tests.http import get
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

LARGE = b"x" * 5_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def page() -> Answer:
        return Answer(HTTPStatus.OK, b"hello\n")

    async def large() -> Answer:
        return Answer(HTTPStatus.OK, LARGE)

    listener = socket.create_server(("127.0.0.1", 0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(HttpServer({"/page": page, "/large": large}).serve, [listener])
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        tasks.cancel_scope.cancel()
    listener.close()


async def connected(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.partition(":")
    return await asyncio.open_connection(host, int(port))


async def answer_to(address: str, data: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    reader, writer = await connected(address)
    writer.write(data)
    with anyio.fail_after(10):
        answer = await reader.read()
    writer.close()
    return answer


async def test_a_page_is_answered_and_the_connection_closed(address: str) -> None:
    answer = await answer_to(address, b"GET /page?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"connection: close" in head
    assert body == b"hello\n"


async def test_a_whole_url_is_answered_as_its_path(address: str) -> None:
    answer = await answer_to(address, b"GET http://a/page?x=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.endswith(b"hello\n")


async def test_a_long_page_arrives_whole(address: str) -> None:
    assert (await get(address, "/large")).text == LARGE.decode()


async def test_head_is_answered_without_the_body(address: str) -> None:
    response = await get(address, "/page", "HEAD")
    assert (response.status, response.headers["content-length"], response.text) == (200, "6", "")


async def test_an_unknown_page_is_told_which_there_are(address: str) -> None:
    response = await get(address, "/metric")
    assert (response.status, response.text) == (404, "there are /page, /large\n")


async def test_nothing_but_get_is_allowed(address: str) -> None:
    response = await get(address, "/page", "POST")
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00 a TLS greeting\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nbad header\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET http://[/page HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nHost: a\r\nx: " + b"y" * 20_000, b"431"),
    ],
    ids=["tls", "header", "no host", "no url", "long header"],
)
async def test_what_is_no_request_is_told_so(address: str, data: bytes, status: bytes) -> None:
    answer = await answer_to(address, data)
    assert answer.split()[1] == status


async def test_a_peer_that_leaves_in_the_middle_is_no_event(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    for data in (b"", b"GET /pa", b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"):
        _, writer = await connected(address)
        writer.write(data)
        writer.transport.abort()
    assert (await get(address, "/page")).status == 200
    assert caplog.records == []


async def test_a_peer_that_says_nothing_is_ended_in_time(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.05)
    assert await answer_to(address, b"GET /page HTTP/1.1\r\n") == b""


async def test_a_newer_connection_ends_the_oldest_that_waits(address: str) -> None:
    waiting = [await connected(address) for _ in range(2 * MAX_CONNECTIONS)]
    assert (await get(address, "/page")).text == "hello\n"
    ended = await eventually(
        "the oldest ended",
        lambda: [reader.at_eof() for reader, _ in waiting],
        until=lambda ended: sum(ended) == len(ended) - MAX_CONNECTIONS + 1,
    )
    assert ended == sorted(ended, reverse=True)
    for _, writer in waiting:
        writer.close()
