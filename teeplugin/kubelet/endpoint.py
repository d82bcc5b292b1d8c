"""The plugin's socket in the kubelet's directory, and the gRPC server behind it.

Each registration has a socket of its own name, so that an old instance that leaves takes nothing
from its successor, and no kubelet takes a new registration for an old one. A socket is removed only
if it is ours, or if nobody listens behind it.

It is never put where others could exchange it for theirs: whoever answers there may have the
kubelet give containers any path of the node. Such a directory is waited for like a missing one,
because the fix is on the node, and a restart of the plugin brings it no nearer.
"""

import contextlib
import os
import secrets
import socket
from pathlib import Path
from time import monotonic

import anyio

from teeplugin.kubelet.device_plugin_service import DevicePluginService, RequestCodec
from teeplugin.kubelet.directory_safety import UnsafeDirectoryError, weakness_of
from teeplugin.kubelet.grpc_server import GrpcServer
from teeplugin.kubelet.permission import REFUSED, who_refuses
from teeplugin.kubelet.socket_probe import OPTIONS_METHOD, SocketState, state_of
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.logs.setup import get_logger

CLOSE_SECONDS = 1.0
"""How long clients are given to see their streams end."""

SUSPECT_SECONDS = 1.0
"""How long a socket must have been dead for a plugin that goes on to remove it."""

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path has 108 with the closing zero."""

ORIGINAL_SOCKET = "tee-ram.sock"
"""The socket of the original plugin, which left it behind when it was killed."""

Identified = tuple[Path, tuple[int, int] | None]
"""A socket's path, and the device and inode that it was there."""

_log = get_logger()


class ServedSocket:
    """A socket `tee-ram-<random>.sock` in a directory, with a server behind it while it is open."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / socket_name()
        self.server: GrpcServer | None = None
        self._identity: tuple[int, int] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was opened, and not removed since by us."""
        return self._identity is not None

    @property
    def in_place(self) -> bool:
        """Whether the file at our path is the socket we listen on."""
        return self.is_open and self._identity == _identity(self.path)

    async def open(self, server: GrpcServer) -> None:
        """Clear away what dead instances left, and serve.

        Raises:
            UnsafeDirectoryError: others than root and we could put a socket in place of ours.
            OSError: the directory is gone, full, read-only, or we may not write there.
        """
        if weakness := weakness_of(self._directory):
            raise UnsafeDirectoryError(f"{weakness.problem}: {weakness.fix}")
        if _identity(self.path) is not None:
            # Somebody put something else there, which isn't ours to remove.
            self.rename()
        remove_stale_sockets(self._directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Before the bind, so that there is no moment at which others could connect.
            os.fchmod(listener.fileno(), 0o600)
            listener.bind(os.fspath(self.path))
            # At once: until then another instance would take the socket for a dead one's.
            listener.listen()
            await server.serve(listener)
        except BaseException:
            listener.close()
            raise
        self.server = server
        self._identity = _identity(self.path)

    def rename(self) -> None:
        """Be opened under another name the next time."""
        self.path = self._directory / socket_name()

    def remove(self) -> None:
        """Remove the socket, if it is ours; who is connected stays so."""
        if self.in_place:
            remove_socket(self.path)
        self._identity = None

    async def close(self) -> None:
        """Remove the socket and end the server; opened again, it has another name."""
        self.remove()
        self.rename()
        await self.end()

    async def end(self) -> None:
        """End the server."""
        server, self.server = self.server, None
        if server is not None:
            await server.end()


class Endpoint:
    """The device plugin's socket in `directory`, listening while it is open."""

    probe_method = OPTIONS_METHOD
    """A call that changes nothing."""

    def __init__(
        self, *, directory: Path, service: DevicePluginService, watch_streams: WatchStreams
    ) -> None:
        self._directory = directory
        self._socket = ServedSocket(directory)
        self._service = service
        self._watch_streams = watch_streams
        self._suspects: dict[Identified, float] = {}

    @property
    def path(self) -> Path:
        """The socket's path."""
        return self._socket.path

    @property
    def name(self) -> str:
        """The socket's name in its directory."""
        return self.path.name

    @property
    def in_place(self) -> bool:
        """Whether the file at our path is the socket we listen on."""
        return self._socket.in_place

    def has_client_since(self, began: float) -> bool:
        """Whether a client is connected that came at this monotonic time or later."""
        clients = self._socket.server.clients if self._socket.server else ()
        return any(client.since >= began for client in clients)

    async def open(self) -> None:
        """Clear away what dead plugins left, bind, listen and serve.

        Raises:
            UnsafeDirectoryError: others than root and we could put a socket in place of ours.
            OSError: the directory is gone, full, read-only, or we may not write there.
        """
        if self._socket.is_open:
            await self.close()
            self._socket.rename()
        try:
            await self._socket.open(GrpcServer(self._service, RequestCodec()))
        except OSError as error:
            if error.errno in REFUSED:
                words = f"{error.strerror}: {who_refuses(self._directory)}"
                raise PermissionError(error.errno, words) from error
            raise
        _log.debug("listening", socket=str(self.path))

    def tidy(self) -> None:
        """Remove what plugins left that were killed since we opened; what can't be, another time.

        Only what was dead at a look before, too: the bind of another plugin wakes us, maybe before
        it listens. Nothing is told of what stays: nobody listens behind it, and opening tells.
        """
        now = monotonic()
        # The directory can't be read without a descriptor, nor when it has just gone.
        with contextlib.suppress(OSError):
            dead = _dead_sockets(self._directory, ours=self.path)
            self._suspects = {each: self._suspects.get(each, now) for each in dead}
            for (path, _), since in self._suspects.items():
                if now - since >= SUSPECT_SECONDS:
                    _remove_stale(path, telling=False)

    async def close(self) -> None:
        """Remove the socket if ours, end the streams, and stop serving within a bounded time."""
        # First, so that nobody takes what is ending for a socket that does not answer.
        self._socket.remove()
        self._watch_streams.end_all()
        if self._socket.server is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await self._watch_streams.all_ended()
                await self._socket.end()


def remove_socket(path: Path, *, telling: bool = True) -> bool:
    """Remove a socket if it is there, and say whether it was removed by us.

    Where that can't be done, it is left behind, and told of if `telling`.
    """
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        if telling:
            _log.warning(
                "socket_left",
                socket=str(path),
                error=error.strerror,
                effect="none: no process listens behind it",
                fix="make the directory writable; a running plugin then removes the socket",
            )
        return False
    return True


def remove_stale_sockets(directory: Path) -> None:
    """Remove our pattern's sockets, and the original plugin's, behind which nobody listens.

    Raises:
        OSError: the directory can't be read.
    """
    for path, _ in _dead_sockets(directory):
        _remove_stale(path)


def _remove_stale(path: Path, *, telling: bool = True) -> None:
    if remove_socket(path, telling=telling):
        _log.info("stale_socket_removed", socket=str(path))


def _dead_sockets(directory: Path, *, ours: Path | None = None) -> list[Identified]:
    paths = {*directory.glob("tee-ram-*.sock"), directory / ORIGINAL_SOCKET} - {ours}
    # A link is no socket of ours, wherever it leads.
    return [
        (path, _identity(path))
        for path in sorted(paths)
        if not path.is_symlink() and state_of(path) is SocketState.REFUSES
    ]


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of what is at a path, or None: a link isn't followed."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def socket_name() -> str:
    """Make a name for a socket: one for each instance."""
    return f"tee-ram-{secrets.token_hex(4)}.sock"


def socket_path_fits(directory: Path) -> bool:
    """Whether our socket's path in this directory is short enough for a unix socket."""
    return len(os.fsencode(directory / socket_name())) <= LONGEST_SOCKET_PATH
