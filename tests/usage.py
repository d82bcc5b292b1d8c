"""What the kernel tells of a process; for chaos, soak and bench."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000


def open_files() -> set[tuple[str, str]]:
    """Give this process's descriptors, each with what it is of.

    Compared as sets, they show what a test left open even where others' are closed meanwhile.
    """
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the folder
            found.add((path.name, str(path.readlink())))
    return found


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has now, and the CPU time and times of going to sleep of its threads.

    A thread that has ended takes its CPU time along.
    """

    rss_mb: float
    peak_rss_mb: float
    descriptors: int
    threads: int
    children: int
    cpu_seconds: float
    sleeps: int

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Look at it.

        Raises:
            OSError: it has ended.
            LookupError: this kernel tells too little.
        """
        process = Path(f"/proc/{pid}")
        threads, nanoseconds, sleeps = 0, 0, 0
        for task in (process / "task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
                nanoseconds += int((task / "schedstat").read_text().split()[0])
                sleeps += _number(task / "status", "voluntary_ctxt_switches")
                threads += 1
        return cls(
            rss_mb=_number(process / "status", "VmRSS") * 1024 / MEGABYTE,
            peak_rss_mb=_number(process / "status", "VmHWM") * 1024 / MEGABYTE,
            descriptors=len(list((process / "fd").iterdir())),
            threads=threads,
            children=len((process / "task" / str(pid) / "children").read_text().split()),
            cpu_seconds=nanoseconds / 1e9,
            sleeps=sleeps,
        )

    def __str__(self) -> str:
        return f"RSS {self.rss_mb:.1f} MB, {self.descriptors} descriptors, {self.threads} threads"


def _number(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise LookupError(f"{path.name} of a process has no {name}: this kernel tells too little")
