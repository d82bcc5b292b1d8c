"""Listens, accepts, chooses who goes when there are too many, ends; for endpoint and simulator."""

import asyncio
import socket
import struct
import time
from asyncio import Transport
from collections import Counter
from collections.abc import Collection
from typing import Any

import anyio.lowlevel
from grpclib.encoding.base import CodecBase
from grpclib.protocol import H2Protocol
from grpclib.server import Server
from h2.errors import ErrorCodes

from teeplugin.connections.held import Held
from teeplugin.connections.protocol import BoundedProtocol
from teeplugin.connections.turns import Turns
from teeplugin.logs.setup import get_logger

MOST_CONNECTIONS = 64
"""The kubelet has two: one from Register, one for its calls."""

YOUNG_SECONDS = 0.5
"""So long a connection has for its first call before it may have to give way to a newer one."""

BACKLOG = 1_024
"""Whoever connects waits in the kernel until it is accepted; below Linux's own limit of 4,096."""

_ACCEPTED_AT_ONCE = 4
_ACCEPT_REST_SECONDS = 0.002
"""At most 2,000 a second, a tenth of a millisecond each: a storm takes a fifth of the time."""

_FULL_REST_SECONDS = 0.05
_NO_DESCRIPTOR_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""How often connections are looked at for what takes too long."""

_TOLD_SECONDS = 60.0
"""One line for each reason in this time, with how many there were since the last."""

_PEER = struct.Struct("3i")

_log = get_logger()


class ConnectionServer(Server):
    """Serves `handlers` on the listening socket given to `serve`, until `end`."""

    # grpclib names the type of a handler in a private module only.
    def __init__(self, handlers: Collection[Any], codec: CodecBase | None = None) -> None:
        super().__init__(handlers, codec=codec)
        self.held = Held()
        self.turns = Turns()
        self._connections: dict[BoundedProtocol, None] = {}
        self._emptied = asyncio.Event()
        self._listener: socket.socket | None = None
        self._next: socket.socket | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._setting_up: dict[BoundedProtocol, asyncio.Task[None]] = {}
        self._untold: Counter[str] = Counter()
        self._told: dict[str, float] = {}

    @property
    def _transports(self) -> list[Transport]:
        """Of all open connections."""
        return [connection.transport for connection in self._connections]

    async def serve(self, listener: socket.socket) -> None:
        """Listen and serve; the socket is the server's from now on."""
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._listener = listener
        self._wait_for_clients(listener)
        self._look_later()

    async def end(self, *, abruptly: bool = False) -> None:
        """End all calls and close all connections: once what was written is sent, or at once."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._stop_listening(listener)
        while self._setting_up:
            await asyncio.wait(self._setting_up.values())
        if abruptly:
            for transport in self._transports:
                transport.abort()
        self.close()
        # Calls that are cancelled say so to their callers first.
        await anyio.lowlevel.checkpoint()
        for transport in self._transports:
            transport.close()
        try:
            await self.wait_closed()
        finally:
            for transport in self._transports:
                transport.abort()

    def close(self) -> None:
        """End all calls."""
        for handler in self._handlers:
            handler.close()
        self.turns.close()

    async def wait_closed(self) -> None:
        """Wait until the calls have ended and the last bytes were taken."""
        for handler in self._handlers:
            await handler.wait_closed()
        while self._connections:
            self._emptied.clear()
            await self._emptied.wait()

    # What connections call

    def add(self, connection: BoundedProtocol) -> None:
        """Count a connection as open."""
        self._setting_up.pop(connection, None)
        self._connections[connection] = None

    def remove(self, connection: BoundedProtocol) -> None:
        """Count it no more."""
        self._connections.pop(connection, None)
        if not self._connections:
            self._emptied.set()

    def tell(self, reason: str) -> None:
        """Log that a client was cut, once for each reason within a while."""
        self._untold[reason] += 1
        now = time.monotonic()
        if now - self._told.get(reason, -_TOLD_SECONDS) >= _TOLD_SECONDS:
            self._told[reason] = now
            _log.warning("clients_cut", reason=reason, clients=self._untold.pop(reason))

    # Accepting

    def _wait_for_clients(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept, listener)

    def _stop_listening(self, listener: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(listener.fileno())
        listener.close()
        for timer in self._timers.values():
            timer.cancel()
        if self._next is not None:
            self._next.close()
            self._next = None

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client = self._next or listener.accept()[0]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._tell_not_accepted(error)
                self._rest(listener, _NO_DESCRIPTOR_SECONDS)
                return
            self._next = None
            pid = _peer_pid(client)
            if len(self._connections) + len(self._setting_up) < MOST_CONNECTIONS:
                self._set_up(client, pid)
                continue
            victim = self._who_gives_way(pid)
            if victim is None:
                client.close()
                self.tell("too-many")
            elif victim.calls.live or time.monotonic() - victim.opened > YOUNG_SECONDS:
                victim.end(ErrorCodes.NO_ERROR, "gave-way")
                self._set_up(client, pid)
            else:
                self._next = client
                self._rest(listener, _FULL_REST_SECONDS)
                return
        self._rest(listener, _ACCEPT_REST_SECONDS)

    def _rest(self, listener: socket.socket, seconds: float) -> None:
        """Accept nobody for a while."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener.fileno())
        self._timers["accept"] = loop.call_later(seconds, self._go_on_accepting, listener)

    def _go_on_accepting(self, listener: socket.socket) -> None:
        self._wait_for_clients(listener)
        if self._next is not None:  # which the kernel doesn't tell of any more
            self._accept(listener)

    def _set_up(self, client: socket.socket, pid: int) -> None:
        client.setblocking(False)
        protocol = BoundedProtocol(self._protocol_factory(), self, pid)
        task = asyncio.get_running_loop().create_task(_connect(protocol, client))
        self._setting_up[protocol] = task
        task.add_done_callback(lambda _: self._setting_up.pop(protocol, None))

    def _who_gives_way(self, pid: int) -> BoundedProtocol | None:
        """Choose who goes for a client of this process; None if the client itself.

        Of the connections without a call one that never had any, else one whose calls have ended:
        the oldest of the process that has the most. If all have calls, the newest of the process
        that has the most, for one that has fewer: so the kubelet comes in, unless many processes
        crowd it out, or one that can't be told from it, being outside of our container as well.
        """
        having = Counter(connection.peer_pid for connection in self._connections)
        idle = [connection for connection in self._connections if not connection.calls.live]
        if idle:
            # In the order in which they were opened, so that the first of equals is the oldest.
            return max(idle, key=lambda each: (not each.calls.began, having[each.peer_pid]))
        ((most, count),) = having.most_common(1)
        if having[pid] + 1 >= count:
            return None
        return [connection for connection in self._connections if connection.peer_pid == most][-1]

    def _tell_not_accepted(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._told.get("accept", -_TOLD_SECONDS) >= _TOLD_SECONDS:
            self._told["accept"] = now
            _log.warning(
                "clients_not_accepted",
                error=error.strerror,
                effect="whoever connects waits; tried again every second",
                cure="raise the limit of open files",
            )

    # Looking after

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timers["look"] = loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._look_later()
        now = time.monotonic()
        for connection in list(self._connections):
            connection.look(now)


async def _connect(protocol: H2Protocol, client: socket.socket) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, client)
    except OSError:
        client.close()


def _peer_pid(client: socket.socket) -> int:
    """Give the process that connected; 0 if it is in a namespace that we don't see."""
    try:
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError:
        return 0
    pid: int = _PEER.unpack(peer)[0]
    return pid
