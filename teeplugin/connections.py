"""A gRPC server on a listening socket that bounds its clients and ends with itself, on grpclib.

Ours is behind the plugin's socket, the simulated kubelet's behind its own.
"""

import asyncio
import socket
from asyncio import BaseTransport, Transport
from collections.abc import Callable, Collection
from typing import Any

import anyio.lowlevel
from grpclib import GRPCError, Status
from grpclib.encoding.base import CodecBase
from grpclib.protocol import AbstractHandler, H2Protocol, Stream
from grpclib.server import Server

Headers = list[tuple[str, str]]

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path has 108 with the closing zero."""


MOST_REQUEST_BYTES = 4 * 1024 * 1024
"""What the kubelet's own gRPC library takes for one message, where nothing else is said."""

MOST_CONNECTIONS = 64
"""The kubelet has two: one from Register, one for its calls. What is beyond is closed at once."""


class _BoundedRequests(AbstractHandler):
    """Has requests read up to a limit, then given to `handler`: grpclib would read any size."""

    def __init__(self, handler: AbstractHandler) -> None:
        self._handler = handler

    def accept(self, stream: Stream, headers: Headers, release_stream: Callable[[], None]) -> None:
        """Take a call; a message's size is known before its bytes are read."""
        recv_data = stream.recv_data

        async def recv_bounded(size: int) -> bytes:
            if size > MOST_REQUEST_BYTES:
                raise GRPCError(
                    Status.RESOURCE_EXHAUSTED,
                    f"a message of {size} bytes: at most {MOST_REQUEST_BYTES} are taken",
                )
            return await recv_data(size)

        stream.recv_data = recv_bounded  # type: ignore[method-assign]
        self._handler.accept(stream, headers, release_stream)

    def cancel(self, stream: Stream) -> None:
        """End a call that the peer gave up."""
        self._handler.cancel(stream)

    def close(self) -> None:
        """End all calls of the connection."""
        self._handler.close()


class ConnectionServer(Server):
    """Serves `handlers` on the listening socket given to `serve`, until `end`."""

    # grpclib names the type of a handler in a private module only.
    def __init__(self, handlers: Collection[Any], codec: CodecBase | None = None) -> None:
        super().__init__(handlers, codec=codec)
        self._transports: set[Transport] = set()
        self._listener: socket.socket | None = None

    async def serve(self, listener: socket.socket) -> None:
        """Listen and serve; the socket is the server's from now on."""
        self._listener = listener
        await self.start(sock=listener)

    async def end(self, *, abruptly: bool = False) -> None:
        """End all calls and close all connections: once what was written is sent, or at once."""
        if self._listener is None:
            return
        # asyncio loses a connection that it accepts while its server closes: the peer would wait
        # for ever. So accept none from here on, and let those that were accepted be set up.
        asyncio.get_running_loop().remove_reader(self._listener.fileno())
        self._listener = None
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        if abruptly:
            for transport in list(self._transports):
                transport.abort()
        self.close()
        # Calls that are cancelled say so to their callers first.
        await anyio.lowlevel.checkpoint()
        for transport in list(self._transports):
            transport.close()
        # From Python 3.12 on this waits for peers as well that don't read what was written.
        await self.wait_closed()

    def _protocol_factory(self) -> H2Protocol:
        return _CountedProtocol(super()._protocol_factory(), self._transports)


class _CountedProtocol(H2Protocol):
    """One connection, which stands in `transports` as long as it is open; too many are closed."""

    def __init__(self, made: H2Protocol, transports: set[Transport]) -> None:
        super().__init__(_BoundedRequests(made.handler), made.config, made.h2_config)
        self._transports = transports
        self._transport: Transport | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        """Count the connection, or close it."""
        super().connection_made(transport)
        if not isinstance(transport, Transport):
            return
        if len(self._transports) >= MOST_CONNECTIONS:
            transport.abort()
        else:
            self._transport = transport
            self._transports.add(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        if self._transport is not None:
            self._transports.discard(self._transport)
        super().connection_lost(exc)
