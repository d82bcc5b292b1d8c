"""What there is to see of a node at one moment, apart from how it is shown.

The view draws it, the lines tell it.
"""

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from teeplugin.simulator.stage import Stage
from teeplugin.simulator.tee_control import NO_FAULT
from teeplugin.simulator.timeline import Entry

HISTORY_SECONDS = 60
_NO_REFUSAL = "no pod was refused yet"


class Mark(Enum):
    """What a unit is, in the order in which one mark for several units takes the worst."""

    FREE = 0
    ALLOCATED = 1
    UNHEALTHY = 2
    ALLOCATED_UNHEALTHY = 3


@dataclass(frozen=True, slots=True)
class State:
    """How a part of the node is, in a word or two, and whether that is well."""

    name: str
    text: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key and what it would do now."""

    key: str
    label: str


class Counts(NamedTuple):
    """How many units were healthy, and how many of all were allocated."""

    healthy: int
    allocated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One moment: units by the simulated kubelet, memory in bytes by the TEE.

    `backend` is the name of a backend of the user's, empty for the simulated TEE. `uses` says who
    uses how many bytes of the memory; None: unknown, as there is no reading.
    """

    resource: str
    backend: str
    unit_bytes: int
    states: Sequence[State]
    marks: Sequence[Mark]
    allocated: int
    free: int
    unhealthy: int
    total_bytes: int
    uses: Mapping[str, int] | None
    pods: Sequence[tuple[str, int]]
    entries: Sequence[Entry]
    keys: Sequence[Key]
    reason: str | None = None
    """The fault that stands with its fix, or the shortage, and why the last pod was refused: in
    full, where that is to be shown in place of the events."""

    history: Sequence[Counts] = ()
    """The units of the last minute, one entry a second, the oldest first."""


class Photographer:
    """Takes pictures of one stage; the marks are made anew only if allocations changed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._seen: tuple[frozenset[str], frozenset[str], frozenset[str]] | None = None
        self._marks: list[Mark] = []
        self._counts: Counter[Mark] = Counter()
        self._history: deque[Counts] = deque(maxlen=HISTORY_SECONDS)
        self._history_ends = 0.0

    def take(self, keys: Sequence[Key], *, with_reason: bool = False) -> Picture:
        """Look at the stage now; `with_reason` shows the fault and why a pod was refused."""
        stage, kubelet, tee = self._stage, self._stage.kubelet, self._stage.tee
        book = kubelet.devices.resources.get(kubelet.resource)
        pods = kubelet.allocated()
        allocated = frozenset().union(*pods.values())
        ids = book.ids if book and kubelet.capacity() else frozenset[str]()
        healthy = kubelet.healthy_ids()
        if self._seen != (ids, healthy, allocated):
            self._seen = (ids, healthy, allocated)
            self._marks = [_mark(one, healthy, allocated) for one in sorted(ids, key=_number)]
            self._counts = Counter(self._marks)
        return Picture(
            resource=kubelet.resource,
            backend=stage.setup.backend.name if stage.setup.backend else "",
            unit_bytes=stage.setup.unit_bytes,
            states=_states(stage),
            marks=self._marks,
            allocated=len(allocated),
            # By the marks, and not by what the kubelet could give: where a pod's admission is under
            # way, its units are neither allocated nor free there.
            free=self._counts[Mark.FREE],
            unhealthy=self._counts[Mark.UNHEALTHY] + self._counts[Mark.ALLOCATED_UNHEALTHY],
            total_bytes=tee.total_bytes,
            uses=tee.uses if tee.is_played or stage.plugin_runs else None,
            pods=[(pod, len(own)) for pod, own in pods.items()],
            entries=tuple(stage.timeline.entries),
            keys=keys,
            reason=_reason(stage) if with_reason else None,
            history=self._remembered(Counts(len(healthy), len(allocated))),
        )

    def _remembered(self, now: Counts) -> Sequence[Counts]:
        """Keep what is now, once a second; a second that nobody looked at is as the one before."""
        seconds = time.monotonic()
        missed = int(seconds - self._history_ends) if self._history else 1
        if missed:
            self._history.extend([*self._history][-1:] * min(missed - 1, HISTORY_SECONDS))
            self._history.append(now)
            self._history_ends = seconds
        else:
            self._history[-1] = now
        return tuple(self._history)


def _reason(stage: Stage) -> str:
    """Write the fault with its fix or the shortage, and why the kubelet refused the last pod."""
    standing, fault = stage.shortage_text, stage.timeline.fault
    if fault is not None:
        standing = f"{fault.kind}: {fault.error}\nfix: {fault.fix}"
    refusal = stage.timeline.last_refusal or _NO_REFUSAL
    return f"{standing}\n\n{refusal}" if standing else refusal


def _number(name: str) -> tuple[int, str]:
    """Sort decimal ids by their numbers, and others by their names."""
    return len(name), name


def _mark(one: str, healthy: frozenset[str], allocated: frozenset[str]) -> Mark:
    if one in healthy:
        return Mark.ALLOCATED if one in allocated else Mark.FREE
    return Mark.ALLOCATED_UNHEALTHY if one in allocated else Mark.UNHEALTHY


def _states(stage: Stage) -> Sequence[State]:
    kubelet, tee = stage.kubelet, stage.tee
    if stage.plugin_runs:
        plugin = "registered" if stage.registered else "not registered"
    elif stage.plugin is None or stage.plugin.exit_code is None:
        plugin = "not started"
    else:
        plugin = f"ended with exit {stage.plugin.exit_code}"
    if not (tee.is_played or stage.plugin_runs):
        answers = State("TEE", "not asked", ok=False)
    elif tee.fault == NO_FAULT:
        answers = State("TEE", "answers", ok=True)
    else:
        answers = State("TEE", tee.fault, ok=False)
    return (
        State("kubelet", f"runs {stage.setup.profile.version}", ok=True)
        if kubelet.running
        else State("kubelet", "stopped", ok=False),
        State("plugin", plugin, ok=stage.registered),
        answers,
    )
