"""Checks that nobody but root and the plugin's user can exchange a socket in a directory.

Whoever answers at the plugin's socket may have the kubelet give containers any path of the node.
"""

import errno
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MAX_LINKS = 40
"""After so many links the kernel gives a path up."""

_EVERY_UID = 2**32 - 1
"""How many uids the map of the machine's own user namespace has."""

_UID_MAP = Path("/proc/self/uid_map")

_OVERFLOW_UID = Path("/proc/sys/kernel/overflowuid")


class Weakness(NamedTuple):
    """Why a directory isn't safe, with the value and the rule, and what to do about it.

    `command` makes it safe; `instead` is what may be done in place of it.
    """

    problem: str
    command: str
    instead: str = ""

    @property
    def fix(self) -> str:
        """What to do, in one line."""
        return f"{self.instead}, or {self.command}" if self.instead else self.command


class UnsafeDirectoryError(PermissionError):
    """Others could exchange our socket for theirs; the text names value, rule and fix."""


def weakness_of(directory: Path) -> Weakness | None:
    """Find out whether others than root and we can exchange what stands in a directory.

    Looked at is the directory, and each directory and link on the way to it: all must be root's or
    ours, and writable for nobody else. On the way there, others may write to a directory that is
    sticky, as /tmp is, since they can't rename what isn't theirs in it.

    Raises:
        OSError: there is no such directory, or it can't be looked at.
    """
    way = list(_way_to(directory))
    for step, status in way:
        is_last = step == way[-1][0]
        owners = {0, os.geteuid()} if is_last else {0, os.geteuid(), *_unknown_owner()}
        if status.st_uid not in owners:
            return Weakness(
                f"{step} belongs to uid {status.st_uid}: must be owned by root or the plugin's "
                "user, or other users could impersonate the plugin",
                shlex.join(["chown", "-h", "root", str(step)]),
                "give the kubelet's own directory as --kubelet-dir",
            )
        is_sticky = bool(status.st_mode & stat.S_ISVTX) and not is_last
        if stat.S_ISDIR(status.st_mode) and _others_may_write(status) and not is_sticky:
            return Weakness(
                f"{step} is {stat.filemode(status.st_mode)}: must be writable for its owner only, "
                "or other users could impersonate the plugin",
                shlex.join(["chmod", "go-w", str(step)]),
            )
    return None


def _way_to(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give all that the kernel passes from the root on, each link before its target's parts."""
    ahead = list(reversed(path.absolute().parts))
    here, links = Path("/"), 0
    while ahead:
        name = ahead.pop()
        # An absolute link's first part is the root, which takes the place of all before it.
        step = here.parent if name == ".." else here / name
        status = step.lstat()
        yield step, status
        if not stat.S_ISLNK(status.st_mode):
            here = step
        elif links < _MAX_LINKS:
            links += 1
            ahead += reversed(step.readlink().parts)
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _others_may_write(status: os.stat_result) -> bool:
    # Users of many systems have a group to themselves, of their own number, and let it write.
    is_own_group = status.st_uid == status.st_gid == os.geteuid() != 0
    return bool(status.st_mode & (stat.S_IWOTH if is_own_group else stat.S_IWOTH | stat.S_IWGRP))


def in_user_namespace() -> bool:
    """Whether our uids are only some of the machine's, as in sandboxes."""
    try:
        counts = [int(line.split()[2]) for line in _UID_MAP.read_text().splitlines()]
    except (OSError, ValueError, IndexError):
        return False
    return sum(counts) < _EVERY_UID


def _unknown_owner() -> set[int]:
    """In a user namespace the uid as which the machine's root is seen."""
    try:
        return {int(_OVERFLOW_UID.read_text())} if in_user_namespace() else set()
    except (OSError, ValueError):
        return set()
