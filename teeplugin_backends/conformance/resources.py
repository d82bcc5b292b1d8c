"""What this process has open: threads, descriptors, processes below it."""

import gc
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import anyio

_LEAVE_SECONDS = 5.0
"""How long what was killed or closed may take to be gone."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, order=True)
class Process:
    """A process, told from a later one with its number by `started`, in the kernel's ticks."""

    pid: int
    started: int
    name: str = field(compare=False)
    parent: int = field(compare=False)
    is_dead: bool = field(compare=False)
    """Ended, and not waited for by its parent."""

    is_stuck: bool = field(compare=False, default=False)
    """In the kernel, where no signal ends it (state D): no backend can clean it up."""

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


@dataclass(frozen=True, slots=True)
class Resources:
    """What is open at one moment."""

    threads: frozenset[int]
    descriptors: frozenset[tuple[int, str]]
    processes: frozenset[Process]

    @classmethod
    def now(cls) -> Self:
        """Look."""
        threads = frozenset(int(path.name) for path in Path("/proc/self/task").iterdir())
        return cls(threads, frozenset(_descriptors()), descendants())

    def names_since(self, before: "Resources", *, only_more: bool) -> list[str]:
        """Name what wasn't there before; with `only_more`, of the sorts that there is more of."""

        def fresh(now: frozenset[Any], then: frozenset[Any]) -> list[Any]:
            return [] if only_more and len(now) <= len(then) else sorted(now - then)

        return [
            *map(_thread, fresh(self.threads, before.threads)),
            *(
                f"descriptor {number} ({target})"
                for number, target in fresh(self.descriptors, before.descriptors)
            ),
            *map(str, fresh(_clearable(self.processes), _clearable(before.processes))),
        ]


def _clearable(processes: frozenset[Process]) -> frozenset[Process]:
    return frozenset(process for process in processes if not process.is_stuck)


def descendants() -> frozenset[Process]:
    """Find the processes below this one, however deep; the dead that nobody waited for as well."""
    return _below_this_one(_all_processes())


def _below_this_one(processes: Iterable[Process]) -> frozenset[Process]:
    children: dict[int, list[Process]] = {}
    for process in processes:
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = list(children.get(os.getpid(), ()))
    for process in found:  # which grows meanwhile
        found += children.get(process.pid, ())
    return frozenset(found)


def what_is_left(before: Resources, seen: frozenset[Process] = frozenset()) -> list[str]:
    """Wait a little until nothing is open that wasn't before; name what still is.

    Of the processes that were `seen` none may be left either, whoever is their parent now.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while (left := _left(before, seen, only_more=False)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return left


async def what_has_grown(before: Resources, seen: frozenset[Process] = frozenset()) -> list[str]:
    """Wait likewise until no more is open than before, in a running loop.

    What was closed and opened anew is another, but not more.
    """
    deadline = time.monotonic() + _LEAVE_SECONDS
    while True:
        left = _left(before, seen, only_more=True)
        if not left or time.monotonic() > deadline:
            return left
        await anyio.sleep(_POLL_SECONDS)


def _left(before: Resources, seen: frozenset[Process], *, only_more: bool) -> list[str]:
    def look() -> list[str]:
        now = Resources.now()
        names = now.names_since(before, only_more=only_more)
        orphans = _all_processes() if seen - now.processes else ()
        left = {each for each in orphans if each in seen and not (each.is_dead or each.is_stuck)}
        return [*names, *map(str, sorted(left - now.processes))]

    if not look():
        return []
    # What only waits for the collector is no leak.
    gc.collect()
    return look()


def _descriptors() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - closes its own before it returns
        try:
            yield int(name), os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - text is wanted
        except FileNotFoundError:
            continue


def _thread(number: int) -> str:
    names = {each.native_id: each.name for each in threading.enumerate()}
    return f"thread {number} ({names.get(number, 'not of Python')})"


def _all_processes() -> Iterator[Process]:
    """Find every process of this machine."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - there may be thousands, and Path is slow
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - likewise
                text = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        # The command's name may have brackets and blanks of its own.
        _, _, rest = text.partition(" (")
        command, _, numbers = rest.rpartition(") ")
        state, parent, *others = numbers.split()
        yield Process(
            *(int(name), int(others[17]), command, int(parent)),
            is_dead=state == "Z",
            is_stuck=state == "D",
        )
