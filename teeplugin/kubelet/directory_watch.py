"""Wakes the registration when something happens in the kubelet's directory, or to it.

Only a waker: what is there is always looked up afresh. The directory and its parent are watched,
so that a directory that is deleted and made again is seen, and a wait always ends after a while,
so that nothing depends on inotify alone.
"""

import stat
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from asyncinotify import Inotify, Mask

from teeplugin.logs.setup import get_logger

_MASK = (
    Mask.CREATE
    | Mask.DELETE
    | Mask.MOVED_FROM
    | Mask.MOVED_TO
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
    | Mask.ONLYDIR
)

DELETION_SECONDS = 0.1
"""Far longer than the moment between a directory's last link and its end."""

POLL_SECONDS = 1.0
"""How often to look where the system gives no inotify."""

_log = get_logger()

FileIdentity = tuple[int, int, int]


def file_identity(path: Path) -> FileIdentity | None:
    """Device, inode and change time: inode numbers alone are used again at once by ext4."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def is_missing(directory: Path) -> bool:
    """Whether there is no such directory; one that can't be looked at may be there."""
    try:
        return not stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


async def is_dead_mount(directory: Path) -> bool:
    """Whether the directory was deleted under us and only our mount keeps it: nothing returns.

    Looked at twice: a directory has no links either in the moment in which it is deleted.
    """
    if not _has_no_links(directory):
        return False
    await anyio.sleep(DELETION_SECONDS)
    return _has_no_links(directory)


def _has_no_links(directory: Path) -> bool:
    try:
        return directory.stat().st_nlink == 0
    except OSError:
        return False


class DirectoryWatch:
    """Watches `directory` and its parent while it is entered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._inotify: Inotify | None = None
        self._armed: tuple[int, int] | None = None

    async def __aenter__(self) -> Self:
        """Begin to watch; without inotify every second may have brought a change."""
        try:
            self._inotify = Inotify()
        except OSError as error:
            _log.warning(
                "directory_not_watched",
                error=str(error),
                effect="the plugin notices a restart of the kubelet up to a second later",
                fix="raise fs.inotify.max_user_instances",
            )
        self._arm()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop watching."""
        if self._inotify is not None:
            self._inotify.close()

    async def changed(self) -> None:
        """Wait until something may have changed since the last call."""
        if self._inotify is None:
            await anyio.sleep(POLL_SECONDS)
        elif not self._arm():
            await self._inotify.get()

    def _arm(self) -> bool:
        """Watch what is at the paths now; True if that is another directory than before."""
        if self._inotify is None:
            return False
        for path in (self._directory.parent, self._directory):
            try:
                self._inotify.add_watch(path, _MASK)
            except OSError:
                continue
        try:
            status = self._directory.stat()
        except OSError:
            identity = None
        else:
            identity = status.st_dev, status.st_ino
        changed = identity != self._armed
        self._armed = identity
        return changed
