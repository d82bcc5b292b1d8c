"""Reports when files of the node appear, go or are closed by their holder (inotify).

A daemon that is killed gives no event in the directory of its socket, as the file stays. A device
node that it had open for writing gives IN_CLOSE_WRITE at once.
"""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from asyncinotify import Event, Inotify, Mask, Watch

_DIRECTORY: Final = (
    Mask.CREATE
    | Mask.DELETE
    | Mask.MOVED_FROM
    | Mask.MOVED_TO
    | Mask.DELETE_SELF
    | Mask.MOVE_SELF
    | Mask.ONLYDIR
)
_LOST: Final = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED | Mask.Q_OVERFLOW
"""What is watched may be another now, or events were dropped."""


async def changes(paths: Sequence[Path], held: Sequence[Path]) -> AsyncGenerator[None, None]:
    """Yield after each change: one of `paths` came or went, or a process closed one of `held`.

    Several changes at once are one. Where a path's directory isn't there, the nearest one above
    it is watched.

    Raises:
        OSError: the system gives no inotify, or no more watches.
    """
    with Inotify(sync_timeout=0) as inotify:
        names = _arm(inotify, paths, held)
        while True:
            happened = [await inotify.get()]
            while (more := inotify.sync_get()) is not None:
                happened.append(more)
            if any(_matters(event, names) for event in happened):
                names = _arm(inotify, paths, held)
                yield


Names = dict[int, set[str]]
"""By the directory's watch: the entries of it that matter.

Not by its path, as one directory may be seen at two: the node's and the container's own.
"""


def _arm(inotify: Inotify, paths: Sequence[Path], held: Sequence[Path]) -> Names:
    """Watch what is there now; a watch that is there already is kept."""
    names: Names = {}
    for path in paths:
        for child, directory in zip((path, *path.parents), path.parents, strict=False):
            if watch := _add(inotify, directory, _DIRECTORY):
                names.setdefault(watch.wd, set()).add(child.name)
                break
    for path in held:
        _add(inotify, path, Mask.CLOSE_WRITE)
    return names


def _add(inotify: Inotify, path: Path, mask: Mask) -> Watch | None:
    try:
        return inotify.add_watch(path, mask)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None


def _matters(event: Event, names: Names) -> bool:
    if event.mask & (_LOST | Mask.CLOSE_WRITE) or event.watch is None:
        return True
    return str(event.name) in names.get(event.watch.wd, ())
