"""A gRPC server on a listening socket that ends its connections with itself, as grpclib's doesn't.

Ours is behind the plugin's socket, the simulated kubelet's behind its own.
"""

import asyncio
import socket
from asyncio import BaseTransport, Transport
from collections.abc import Collection
from typing import Any
from weakref import WeakSet

import anyio.lowlevel
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path has 108 with the closing zero."""


class ConnectionServer(Server):
    """Serves `handlers` on the listening socket given to `serve`, until `end`."""

    # grpclib names the type of a handler in a private module only.
    def __init__(self, handlers: Collection[Any], codec: CodecBase | None = None) -> None:
        super().__init__(handlers, codec=codec)
        self._transports: WeakSet[Transport] = WeakSet()
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
        protocol = super()._protocol_factory()
        set_up = protocol.connection_made

        def connection_made(transport: BaseTransport) -> None:
            set_up(transport)
            if isinstance(transport, Transport):
                self._transports.add(transport)

        # The transport that is made after this takes it from here.
        protocol.connection_made = connection_made  # type: ignore[method-assign]
        return protocol
