"""Gets the page /status of the running plugin: an HTTP client that waits a few seconds at most."""

import asyncio
import errno
import json
import os
import socket
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

import anyio
import h11

from teeplugin.config.validators import EVERYWHERE, split_address

ANSWER_SECONDS = 3.0
"""For the connection and the answer, which takes milliseconds."""

MAX_BYTES = 4 * 1024 * 1024
"""The page has hundreds of bytes, and a hundred for each holder."""

NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What comes for an address that isn't this machine's, or for a family that it hasn't."""

_CHUNK_BYTES = 64 * 1024
_LOOPBACK = "localhost"

Address = tuple[int, int, int, str, tuple[str, int]]
"""As getaddrinfo returns it."""


class NoPluginError(Exception):
    """What answers is no tee-device-plugin."""


async def resolve(listen: str) -> Sequence[Address]:
    """Look the address of `--listen` up; the loopback where it stands for all addresses.

    Raises:
        socket.gaierror: there is no such host.
    """
    host, port = split_address(listen)
    host = _LOOPBACK if host in EVERYWHERE else host
    return await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def get_status(listen: str) -> dict[str, Any]:
    """Ask the first of the addresses that takes the connection.

    Raises:
        NoPluginError: something else answers there.
        ConnectionRefusedError: nobody listens there.
        TimeoutError: no answer came in time.
        OSError: the address can't be reached.
    """
    with anyio.move_on_after(ANSWER_SECONDS):
        return await _asked([address[4] for address in await resolve(listen)])
    raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")


async def _asked(addresses: Iterable[tuple[str, int]]) -> dict[str, Any]:
    # asyncio's own words name the address a second time.
    failure: OSError = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    for host, port in (address[:2] for address in addresses):
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            continue
        except OSError as error:
            # A name like localhost has an IPv6 address even where IPv6 is off.
            if error.errno not in NOT_OURS:
                failure = error
            continue
        try:
            status = json.loads(await _page(reader, writer, f"{host}:{port}"))
        except (h11.RemoteProtocolError, ValueError, RecursionError) as error:
            raise NoPluginError(str(error)) from error
        finally:
            writer.transport.abort()
        if not isinstance(status, dict) or "units" not in status:
            raise NoPluginError("the page has no units")
        return status
    raise failure


async def _page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bytes:
    """Get the body of the page.

    Raises:
        ValueError: the answer is another than a page, or has no end.
        h11.RemoteProtocolError: it is no HTTP.
    """
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="GET", target="/status", headers=[("host", host)])
    writer.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_CHUNK_BYTES))
        elif isinstance(event, h11.Response) and event.status_code != HTTPStatus.OK:
            raise ValueError(f"status {event.status_code}")
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.Response | h11.InformationalResponse):
            raise ValueError(f"{type(event).__name__} instead of an answer")
