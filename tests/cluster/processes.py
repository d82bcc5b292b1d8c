"""Processes told by pid and start time, so that another one given the same pid is left alone."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

_STATE_FIELD = 0  # counted from the one after the name in parentheses
_START_FIELD = 19


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass(frozen=True)
class Process:
    """One process of this boot."""

    pid: int
    start_ticks: int

    @classmethod
    def running(cls, pid: int) -> Process | None:
        """Find the process that has this pid now; one that has ended (a zombie) does not count."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The name may hold spaces and parentheses: count from its end.
        fields = stat.rpartition(")")[2].split()
        if fields[_STATE_FIELD] in "ZX":
            return None
        return cls(pid, int(fields[_START_FIELD]))

    @classmethod
    def recorded(cls, record: Path) -> Process | None:
        """Read what `record` wrote, if that process still runs."""
        try:
            pid, start_ticks, boot = record.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        process = cls(int(pid), int(start_ticks))
        return process if boot == _boot_id() and process.alive() else None

    def record(self, path: Path) -> None:
        """Write down which process this is, in one step."""
        draft = path.with_suffix(".new")
        draft.write_text(f"{self.pid} {self.start_ticks} {_boot_id()}\n")
        draft.rename(path)

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return Process.running(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process has ended."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # The handle is tied to one process; if that is the right one, it stays so.
            if self.alive():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)
