"""What a TA takes of the secure memory, part by part: pure arithmetic for the sizing commands.

No TEE tells this beforehand. The formula is that of the open sibling of iTrustee's OS, which is
OpenHarmony's tee_os_framework (gtask's tee_task.c, tarunner's ta_mt.c); nobody has compared it with
iTrustee on hardware. So each part says how sure it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from teeplugin.commands.sizing.description import PAGE_BYTES
from teeplugin.policy.units import KIB, units_in

STACKS_OF_MULTI_SESSION = 5
"""The sibling lets a multi-session TA have its heap and this many stacks (its TA_STACK_MAX)."""

LEAST_MAIN_STACK_BYTES = 2 * PAGE_BYTES
"""The sibling gives a TA's main thread at least this (its PAGES_FOR_STACK)."""

THREAD_BYTES = PAGE_BYTES
"""The sibling adds this to the stack of each thread, for messages and the log."""

PROCESS_BYTES = 64 * KIB
"""Page tables, and what the loader and libc write to in a TA's process: an assumption, rounded up.

A second instance of a small TA took 84 KiB beside its heap on OP-TEE 4.10, stack and data included.
"""

UNSEEN_CODE_BYTES = 256 * KIB
"""Code and data of a TA whose binary isn't given: an assumption, rounded up.

The first instance of a small TA took 192 KiB beside its heap on OP-TEE 4.10, everything included.
"""

CONTAINER_BYTES = 256 * KIB
"""The TEE's loader and libc, which each container's group has of its own: an assumption."""


class Certainty(StrEnum):
    """How sure a part of the memory is, from the surest on."""

    STATED = "stated"
    """Its size is in configs.xml or manifest.txt."""
    READ = "read"
    """Its size is in the TA's binary."""
    ESTIMATED = "estimated"
    """By the formula of the open sibling OS."""
    ASSUMED = "assumed"
    """A round figure of ours, or made from a default: measure where it matters."""


class PartName(StrEnum):
    """What a part of the memory is for."""

    HEAP = "heap"
    STACKS = "stacks"
    CODE = "code"
    OVERHEAD = "overhead"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the memory: bytes, how they come about, and how sure that is."""

    name: PartName
    size_bytes: int
    formula: str
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class Load:
    """A TA as one container uses it: sizes in bytes, sessions open at the same time.

    `code_bytes` are the pages of its code and data, None where its binary wasn't given. Whether
    the files state heap and stack is for the certainty only: else they are the defaults.
    """

    heap_bytes: int
    stack_bytes: int
    single_instance: bool
    multi_session: bool
    sessions: int = 1
    code_bytes: int | None = None
    heap_stated: bool = True
    stack_stated: bool = True

    @property
    def instances(self) -> int:
        """How many instances the sessions make: all share one, or each has its own."""
        return 1 if self.single_instance else self.sessions

    @property
    def sessions_each(self) -> int:
        """How many sessions an instance has."""
        return self.sessions if self.single_instance else 1


def kib_text(size_bytes: int) -> str:
    """Write bytes in KiB, so that all figures of a report compare; `1000 B` if not whole."""
    whole, rest = divmod(size_bytes, KIB)
    return f"{size_bytes} B" if rest else f"{whole} KiB"


def page_up(size_bytes: int) -> int:
    """Round up to whole pages."""
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def parts_of(load: Load) -> tuple[Part, ...]:
    """What a TA takes: all its instances, without what the container takes for itself."""
    times, suffix = load.instances, _times(load.instances, "instance")
    parts = [
        Part(
            PartName.HEAP,
            page_up(load.heap_bytes) * times,
            f"heap of {kib_text(load.heap_bytes)} in pages{suffix}",
            Certainty.STATED if load.heap_stated else Certainty.ASSUMED,
        ),
        _session_stacks(load),
        Part(
            PartName.STACKS,
            max(page_up(load.stack_bytes) + THREAD_BYTES, LEAST_MAIN_STACK_BYTES) * times,
            f"main thread: a stack and a page{suffix}",
            _of_stacks(load),
        ),
    ]
    if load.code_bytes is not None:
        parts.append(
            Part(
                PartName.CODE,
                load.code_bytes * times,
                f"code and data of its binary in pages{suffix}",
                Certainty.READ,
            )
        )
    return (*parts, *_overhead(load, suffix))


def _session_stacks(load: Load) -> Part:
    stacks = 1
    why = ""
    if load.multi_session:
        stacks = max(STACKS_OF_MULTI_SESSION, load.sessions_each)
        why = f" x {stacks}, being multi-session"
    return Part(
        PartName.STACKS,
        page_up(load.stack_bytes) * stacks * load.instances,
        f"stack of {kib_text(load.stack_bytes)} in pages{why}{_times(load.instances, 'instance')}",
        _of_stacks(load),
    )


def _of_stacks(load: Load) -> Certainty:
    return Certainty.ESTIMATED if load.stack_stated else Certainty.ASSUMED


def _overhead(load: Load, suffix: str) -> Iterable[Part]:
    yield Part(
        PartName.OVERHEAD,
        THREAD_BYTES * load.sessions,
        f"a page for a session's thread{_times(load.sessions, 'session')}",
        Certainty.ESTIMATED,
    )
    yield Part(
        PartName.OVERHEAD,
        PROCESS_BYTES * load.instances,
        f"its process: page tables, data of loader and libc{suffix}",
        Certainty.ASSUMED,
    )
    if load.code_bytes is None:
        yield Part(
            PartName.OVERHEAD,
            UNSEEN_CODE_BYTES * load.instances,
            f"code and data, estimated without its binary{suffix}",
            Certainty.ASSUMED,
        )


def _times(count: int, noun: str) -> str:
    return f" x {count} {noun}s" if count > 1 else ""


CONTAINER = Part(
    PartName.OVERHEAD,
    CONTAINER_BYTES,
    "the TEE's loader and libc for the container",
    Certainty.ASSUMED,
)


def total_bytes(parts: Iterable[Part]) -> int:
    """The bytes of all parts."""
    return sum(part.size_bytes for part in parts)


def units_for(size_bytes: int, unit_bytes: int) -> int:
    """The fewest units that cover the bytes."""
    return units_in(size_bytes + unit_bytes - 1, unit_bytes)


@dataclass(frozen=True, slots=True)
class Rounded:
    """Bytes as whole units."""

    needed_bytes: int
    unit_bytes: int

    @property
    def units(self) -> int:
        """What a pod asks for."""
        return units_for(self.needed_bytes, self.unit_bytes)

    @property
    def asked_bytes(self) -> int:
        """The memory of these units."""
        return self.units * self.unit_bytes

    @property
    def rounding_bytes(self) -> int:
        """What is asked for and not needed: less than a unit."""
        return self.asked_bytes - self.needed_bytes

    @property
    def waste_percent(self) -> float:
        """The share of what is asked for that isn't needed, to one decimal."""
        return round(100 * self.rounding_bytes / self.asked_bytes, 1) if self.asked_bytes else 0.0
