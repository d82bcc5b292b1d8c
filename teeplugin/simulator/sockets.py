"""The simulated kubelet's listening sockets: bind, then listen, and an end that peers notice."""

import socket
import stat
from pathlib import Path

import anyio

from teeplugin.connections import LONGEST_SOCKET_PATH, ConnectionServer

_CLOSING_SECONDS = 1.0


class UnixServer(ConnectionServer):
    """A server on a unix socket, whose end is one of its peers' connections too."""

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
            await self.serve(listener)
        except BaseException:
            listener.close()
            raise

    async def end(self, *, abruptly: bool = False) -> None:
        """End in bounded time; the socket's file stays, as the kubelet's."""
        with anyio.move_on_after(_CLOSING_SECONDS):
            await super().end(abruptly=abruptly)


def clear_directory(directory: Path, *, every_file: bool, keep: str) -> None:
    """Do as a starting kubelet does: delete the sockets, or every file but `keep`."""
    for path in directory.iterdir():
        mode = path.lstat().st_mode
        goes = not stat.S_ISDIR(mode) if every_file else stat.S_ISSOCK(mode)
        if goes and path.name != keep:
            path.unlink(missing_ok=True)
