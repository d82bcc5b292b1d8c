"""Asks the running plugin for its page /status, as an HTTP client without patience; for looks."""

import asyncio
import errno
import json
import socket
from collections.abc import Iterable
from http import HTTPStatus

import anyio
import h11

from teeplugin.commands.doctor.evidence import PageSeen, PageState, PluginStatus
from teeplugin.config.validators import split_address

ANSWER_SECONDS = 3.0
"""For the connection and the answer, which takes milliseconds."""

MOST_BYTES = 4 * 1024 * 1024
"""The page has hundreds of bytes, and a hundred for each holder."""

_CHUNK_BYTES = 64 * 1024
_LOOPBACK = "localhost"


async def look_at_page(listen: str) -> PageSeen:
    """Ask at the address of `--listen`, the empty text being none; nothing listens there for it."""
    if not listen:
        return PageSeen(PageState.OFF)
    host, port = split_address(listen)
    try:
        with anyio.fail_after(ANSWER_SECONDS):
            addresses = await anyio.getaddrinfo(host or _LOOPBACK, port, type=socket.SOCK_STREAM)
            if host is not None and not _is_ours(addresses):
                return PageSeen(PageState.NO_SUCH_ADDRESS)
            return await _asked([address[4][0] for address in addresses], port)
    except TimeoutError:
        return PageSeen(PageState.SILENT, error=f"no answer within {ANSWER_SECONDS:g} s")
    except socket.gaierror as error:
        return PageSeen(PageState.NO_SUCH_ADDRESS, error=error.strerror or str(error))
    except OSError as error:
        return PageSeen(PageState.SILENT, error=error.strerror or str(error))


def _is_ours(addresses: Iterable[tuple[int, int, int, str, tuple[str, int]]]) -> bool:
    """Whether every address is one of this machine's: tried with a port that nobody has asked for.

    The plugin listens at each; binding its own port could take it from a plugin that starts.
    """
    for family, _, _, _, where in addresses:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((where[0], 0))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    return False
    return True


async def _asked(hosts: Iterable[str], port: int) -> PageSeen:
    """Ask the first of the addresses that takes the connection."""
    for host in hosts:
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            continue
        try:
            status = _understood(await _page(reader, writer, f"{host}:{port}"))
        except (h11.RemoteProtocolError, ValueError, LookupError, TypeError, RecursionError):
            status = None
        finally:
            writer.transport.abort()
        if status is None:
            return PageSeen(PageState.SOMEBODY_ELSE)
        return PageSeen(PageState.OURS, status)
    return PageSeen(PageState.NOBODY)


def _understood(body: bytes) -> PluginStatus:
    """Read the page.

    Raises:
        ValueError, LookupError, TypeError: it isn't the plugin's.
    """
    return PluginStatus.parse(json.loads(body))


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
            if len(body) > MOST_BYTES:
                raise ValueError(f"more than {MOST_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return bytes(body)
        elif not isinstance(event, h11.Response | h11.InformationalResponse):
            raise ValueError(f"{type(event).__name__} instead of an answer")
