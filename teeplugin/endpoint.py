"""Our socket in the kubelet's directory and the gRPC server behind it; driven by the registration.

Each running plugin has a socket of its own name, so that an old instance that leaves takes nothing
from its successor. A socket is removed only if it is ours, or if nobody listens behind it.
"""

import os
import secrets
import socket
import stat
from pathlib import Path

import anyio

from teeplugin.connections import ConnectionServer
from teeplugin.log import get_logger
from teeplugin.service import DevicePluginService, RequestCodec
from teeplugin.streams import WatchStreams

CLOSE_SECONDS = 1.0
"""How long clients are given to see their streams end."""

ORIGINAL_SOCKET = "tee-ram.sock"
"""The socket of the original plugin, which left it behind when it was killed."""

_log = get_logger()


class Endpoint:
    """The socket `tee-ram-<instance>.sock` in `directory`, listening while it is open."""

    def __init__(
        self, *, directory: Path, service: DevicePluginService, watch_streams: WatchStreams
    ) -> None:
        self._directory = directory
        self._rename()
        self._service = service
        self._watch_streams = watch_streams
        self._server: ConnectionServer | None = None
        self._identity: tuple[int, int] | None = None

    @property
    def in_place(self) -> bool:
        """Whether the file at our path is the socket we listen on."""
        return self._identity is not None and self._identity == _identity(self.path)

    async def open(self) -> None:
        """Clear away what dead plugins left, bind, listen and serve.

        Raises:
            OSError: the directory is gone, full, read-only, or we may not write there.
        """
        await self.close()
        if _identity(self.path) is not None:
            # Somebody put something else there, which isn't ours to remove.
            self._rename()
        remove_stale_sockets(self.path.parent)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Before the bind, so that there is no moment at which others could connect.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(os.fspath(self.path))
            # At once: until then another instance would take the socket for a dead one's.
            listener.listen()
            server = ConnectionServer([self._service], RequestCodec())
            await server.serve(listener)
        except BaseException:
            listener.close()
            raise
        self._server = server
        self._identity = _identity(self.path)
        _log.debug("listening", socket=str(self.path))

    def _rename(self) -> None:
        self.name = f"tee-ram-{secrets.token_hex(4)}.sock"
        self.path = self._directory / self.name

    async def close(self) -> None:
        """End the streams, stop serving within a bounded time, and remove the socket if ours."""
        self._watch_streams.end_all()
        server, self._server = self._server, None
        if server is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._watch_streams.all_ended()
                await server.end()
        if self.in_place:
            remove_socket(self.path)
        self._identity = None


def remove_socket(path: Path) -> bool:
    """Remove a socket; where that can't be done, it is left behind and told of."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning(
            "socket_left",
            socket=str(path),
            error=error.strerror,
            effect="none: nobody listens behind it",
            cure="the next plugin that starts here removes it, once the directory can be written",
        )
        return False
    return True


def remove_stale_sockets(directory: Path) -> None:
    """Remove our pattern's sockets, and the original plugin's, behind which nobody listens."""
    for path in (*directory.glob("tee-ram-*.sock"), directory / ORIGINAL_SOCKET):
        if _is_dead_socket(path) and remove_socket(path):
            _log.info("stale_socket_removed", socket=str(path))


def _is_dead_socket(path: Path) -> bool:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # Without waiting: a live plugin with a full backlog answers EAGAIN.
            probe.setblocking(False)
            probe.connect(os.fspath(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
