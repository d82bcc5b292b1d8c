"""A small HTTP/1.1 server on h11: GET and HEAD, one request a connection, bounded.

h11 was chosen by memory: with it the plugin grows by 0.4 MB, with uvicorn by 3, with aiohttp by 11.
Whoever reaches the port can hold a few connections for a few seconds, and nothing else: the
kubelet's probes come through, because a newer connection ends the oldest one that still waits.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

from teeplugin.primitives.listening import stop_listening

REQUEST_SECONDS = 5.0
"""From the connection to the end of the answer."""

MAX_CONNECTIONS = 32
"""Prometheus, two probes and a few people; one more ends the oldest."""

MAX_HEADER_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says: the status, the body and its type."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Page = Callable[[], Awaitable[Answer]]


class HttpServer:
    """Serves `pages`, by their paths, on sockets that listen already."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self._open: dict[asyncio.Task[None], None] = {}

    async def serve(self, listeners: list[socket.socket]) -> None:
        """Serve until cancelled; then every connection is closed."""
        servers = [
            await asyncio.start_server(self._connected, sock=listener, limit=MAX_HEADER_BYTES)
            for listener in listeners
        ]
        try:
            await asyncio.Event().wait()
        finally:
            for server in servers:
                await stop_listening(server)
            for task in list(self._open):
                task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs each of these in a task
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.cancel()
        self._open[task] = None
        try:
            # A peer that is slow, gone, or ended for a newer one is no event.
            with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(REQUEST_SECONDS):
                    await self._converse(reader, writer)
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._open.pop(task, None)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        request = None
        try:
            request = await _request(connection, reader)
            if request is None:
                return
            answer = await self._answer(request)
        except h11.RemoteProtocolError as error:
            status = HTTPStatus(error.error_status_hint)
            answer = Answer(status, f"{status.phrase}: this is HTTP/1.1, GET\n".encode())
        with_body = request is None or request.method != b"HEAD"
        for event in _events(answer, with_body=with_body):
            writer.write(connection.send(event) or b"")
        await writer.drain()

    async def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"only GET: nothing can be changed here\n")
        try:
            # Through a proxy the target is a whole URL.
            path = urlsplit(request.target.decode("ascii", "replace")).path
        except ValueError:
            return Answer(HTTPStatus.BAD_REQUEST, b"Bad Request: the target is no URL\n")
        page = self._pages.get(path)
        if page is None:
            known = ", ".join(self._pages)
            return Answer(HTTPStatus.NOT_FOUND, f"there are {known}\n".encode())
        return await page()


def _events(answer: Answer, *, with_body: bool) -> Iterator[h11.Event]:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        ("connection", "close"),
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers.append(("allow", "GET, HEAD"))
    reason = answer.status.phrase.encode()
    yield h11.Response(status_code=answer.status, headers=headers, reason=reason)
    if with_body:
        yield h11.Data(answer.body)
    yield h11.EndOfMessage()


async def _request(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Read the head of a request; None if the peer left before its end. A body is not read."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        data = await reader.read(MAX_HEADER_BYTES)
        connection.receive_data(data)
        if not data and connection.their_state is h11.IDLE:
            return None
