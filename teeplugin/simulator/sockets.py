"""The simulated kubelet's listening sockets: bind, then listen, and an end that peers notice."""

import socket
import stat
import weakref
from pathlib import Path

import anyio
import anyio.lowlevel
from grpclib.protocol import H2Protocol
from grpclib.server import Server

MAX_SOCKET_PATH_BYTES = 107
"""What Linux takes as the path of a unix socket."""

_CLOSING_SECONDS = 1.0


class UnixServer(Server):
    """grpclib's server, knowing its connections so that they can be closed with it."""

    _connections: "weakref.WeakSet[H2Protocol] | None" = None

    async def serve(self, path: Path, listen_delay_seconds: float = 0.0) -> None:
        """Bind, wait, listen; between the two a dial is refused."""
        if len(bytes(path)) > MAX_SOCKET_PATH_BYTES:
            raise OSError(
                f"{path}: a unix socket's path has at most {MAX_SOCKET_PATH_BYTES} bytes, "
                f"this one has {len(bytes(path))}: use a shorter directory"
            )
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            listener.bind(str(path))
            if listen_delay_seconds:
                await anyio.sleep(listen_delay_seconds)
            await self.start(sock=listener)
        except BaseException:
            listener.close()
            raise

    async def end(self, *, abrupt: bool) -> None:
        """Stop listening and close every connection; the socket's file stays, as the kubelet's."""
        if abrupt:
            self._disconnect()
        self.close()
        if not abrupt:
            await anyio.lowlevel.checkpoint()  # cancelled calls say so to their callers first
            self._disconnect()
        with anyio.move_on_after(_CLOSING_SECONDS):
            await self.wait_closed()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        if self._connections is None:
            self._connections = weakref.WeakSet()
        self._connections.add(protocol)
        return protocol

    def _disconnect(self) -> None:
        for protocol in tuple(self._connections or ()):
            if hasattr(protocol, "processor"):
                protocol.processor.close("kubelet stopped")


def clear_directory(directory: Path, *, every_file: bool, keep: str) -> None:
    """Do as a starting kubelet does: delete the sockets, or every file but `keep`."""
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        goes = not stat.S_ISDIR(mode) if every_file else stat.S_ISSOCK(mode)
        if goes and path.name != keep:
            path.unlink(missing_ok=True)
