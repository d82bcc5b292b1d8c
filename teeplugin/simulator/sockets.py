"""The simulated kubelet's listening sockets: bind, then listen, and an end that peers notice.

The server shares nothing with the daemon's, which is judged by what it says to this one.
"""

import asyncio
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import anyio
from grpclib.config import Configuration
from grpclib.encoding.proto import ProtoCodec
from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server
from h2.config import H2Configuration

from teeplugin.primitives.listening import stop_listening

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path has 108 with the closing zero."""

_CLOSING_SECONDS = 1.0


class _Connection(H2Protocol):
    """A peer's connection, which its server can end."""

    def __init__(self, server: "UnixServer", handler: Handler) -> None:
        super().__init__(
            handler,
            Configuration().__for_server__(),
            H2Configuration(client_side=False, header_encoding="ascii"),
        )
        self.calls = handler
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport = cast("asyncio.Transport", transport)
        self._server.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._server.closed(self)


class UnixServer:
    """Serves gRPC services on a unix socket, until `end`."""

    # grpclib names the type of a service in a private module only.
    def __init__(self, services: Sequence[Any]) -> None:
        self._mapping = {
            method: handler
            for service in services
            for method, handler in service.__mapping__().items()
        }
        self._events = Server(()).__dispatch__
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._emptied = asyncio.Event()
        self._frozen = False

    async def bind(self, path: Path, listen_delay_seconds: float = 0.0) -> None:
        """Bind, wait, listen; between the two a dial is refused."""
        if len(bytes(path)) > LONGEST_SOCKET_PATH:
            raise OSError(
                f"{path}: a unix socket's path has at most {LONGEST_SOCKET_PATH} bytes, "
                f"this one has {len(bytes(path))}: use a shorter directory"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(str(path))
            if listen_delay_seconds:
                await anyio.sleep(listen_delay_seconds)
            loop = asyncio.get_running_loop()
            # Not create_unix_server, which removes the socket at the end from Python 3.13 on.
            self._server = await loop.create_server(self._connection, sock=listener)
        except BaseException:
            listener.close()
            raise

    async def end(self, *, abruptly: bool = False) -> None:
        """End in bounded time; the socket's file stays, as the kubelet's."""
        server, self._server = self._server, None
        if server is None:
            return
        await stop_listening(server)
        open_now = list(self._connections)
        for connection in open_now:
            if abruptly:
                connection.transport.abort()
            else:
                connection.calls.close()
        with anyio.move_on_after(_CLOSING_SECONDS):
            for connection in open_now:
                # Calls that are cancelled say so to their callers first.
                await connection.calls.wait_closed()
                connection.transport.close()
            while self._connections:
                self._emptied = asyncio.Event()
                await self._emptied.wait()
        for connection in self._connections:
            connection.transport.abort()

    def freeze(self, *, frozen: bool) -> None:
        """Read nothing that a peer sends, or read on."""
        self._frozen = frozen
        for connection in self._connections:
            set_reading(connection.transport, not frozen)

    def opened(self, connection: _Connection) -> None:
        """Count a connection; one that comes during the end is closed."""
        self._connections.add(connection)
        if self._frozen:
            # Next turn: after connection_made, asyncio of Python 3.11.2 begins to read in any case.
            asyncio.get_running_loop().call_soon(set_reading, connection.transport, False)
        if self._server is None:
            connection.transport.abort()

    def closed(self, connection: _Connection) -> None:
        """Count it no more."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    def _connection(self) -> _Connection:
        return _Connection(self, Handler(self._mapping, ProtoCodec(), None, self._events))


def set_reading(transport: asyncio.Transport, reads: bool) -> None:
    """Have a connection read what its peer sends, or leave it unread."""
    if transport.is_closing():
        return
    if reads:
        transport.resume_reading()
    else:
        transport.pause_reading()


def clear_directory(directory: Path, *, every_file: bool, keep: str) -> None:
    """Do as a starting kubelet does: delete the sockets, or every file but `keep`."""
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        goes = not stat.S_ISDIR(mode) if every_file else stat.S_ISSOCK(mode)
        if goes and path.name != keep:
            path.unlink(missing_ok=True)
