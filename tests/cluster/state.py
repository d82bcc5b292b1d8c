"""The lab's state directory: claimed by one user at a time, and emptied afterwards."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import TextIO

from tests.cluster.settings import Settings

_MARKER = ".teeplugin-lab"


def claim(settings: Settings) -> TextIO:
    """Make the directory the lab's, and lock it until the returned file is closed."""
    state = settings.state
    marker = state / _MARKER
    state.mkdir(parents=True, exist_ok=True)
    if not marker.exists():
        if any(state.iterdir()):
            raise ValueError(f"{state} holds something that is not a lab's; name another directory")
        state.chmod(0o755)
        marker.touch()
    lock = marker.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RuntimeError(f"the lab in {state} is in use by another process") from None
    return lock


def empty(settings: Settings) -> None:
    """Remove what the lab keeps in its directory, but for the logs."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [Path(line.split()[4]) for line in mounts]
    below = [str(target) for target in targets if target.is_relative_to(settings.state)]
    if below:
        # The lab mounts in its own namespace only; removing through a mount would be a mistake.
        raise RuntimeError(f"not emptying {settings.state}: mounted there are {', '.join(below)}")
    for path in settings.volatile:
        if path.exists():
            shutil.rmtree(path)
