"""What to list, given what the TEE answered: the whole policy in one place, pure; called by health.

| what came back                          | what is listed                                         |
|-----------------------------------------|--------------------------------------------------------|
| a good reading                          | as many units as the capacity holds                    |
| Busy, one TimedOut, one BadReply        | as before; asked again after 2 s, at most 3 times      |
| Unreachable, Refused, those confirmed   | all Unhealthy; asked every min(interval, 5 s)          |
| something containers need is missing    | all Unhealthy; asked every min(interval, 5 s)          |
| Exhausted                               | as before: who holds which unit is not known here yet  |
| no reading yet since the start          | nothing at all; asked with back-off                    |
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from teeplugin import units
from teeplugin.inventory import IdSet, Inventory
from teeplugin_backends.base import (
    BadReply,
    Busy,
    Exhausted,
    TeeError,
    TeeMemory,
    TimedOut,
)

CONFIRM_SECONDS = 2.0
"""How long after an uncertain fault the TEE is asked again."""

MOST_CONFIRMATIONS = 3
"""How often an uncertain fault is asked about again before it is believed."""

FAULT_SECONDS = 5.0
"""The longest wait between two queries while a fault stands, so that recovery is seen soon."""

FIRST_BACK_OFF_SECONDS = 0.5
"""The first wait while the TEE has given no reading yet; doubled at each fault up to the above."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator decided: one unit's bytes, the TEE OS's own share, and how often to ask.

    `reserve_bytes` None means the backend's own, which is known from its first reading on: health
    puts it in before the first reading is judged.
    """

    unit_bytes: int
    reserve_bytes: int | None
    interval_seconds: float

    def capacity_bytes(self, memory: TeeMemory) -> int:
        """What trusted applications can have of a reading's total."""
        return units.capacity_bytes(memory.total_bytes, self.reserve_bytes or 0)

    @property
    def fault_seconds(self) -> float:
        """How long to wait before the next query while a fault stands.

        With the interval 0 as well: a fault that was seen must be able to end by itself.
        """
        return min(self.interval_seconds or FAULT_SECONDS, FAULT_SECONDS)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why devices are unhealthy, or might soon be: a stable kind, what happened, what to do."""

    kind: str
    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is to be listed and when to ask the TEE again.

    `inventory` is None until the first reading: nothing is registered then. `cause` stands for a
    fault that is believed, `suspicion` for one that is not yet. `ask_again_seconds` None means
    only on request.
    """

    inventory: Inventory | None = None
    memory: TeeMemory | None = None
    cause: Cause | None = None
    suspicion: Cause | None = None
    suspicious_answers: tuple[type[TeeError], ...] = ()
    faults_before_first: int = 0
    ask_again_seconds: float | None = 0.0


def judge(
    answer: TeeMemory | TeeError, missing: Sequence[str], previous: Judgement, terms: Terms
) -> Judgement:
    """Judge one answer of the TEE; `missing` are the node's paths that containers would lack."""
    if isinstance(answer, TeeMemory):
        return _judge_reading(answer, missing, terms)
    cause = Cause(answer.kind, str(answer), answer.cure)
    if previous.inventory is None:
        return _still_silent(cause, previous)
    if isinstance(answer, Exhausted):
        return replace(
            previous,
            cause=cause if previous.cause else None,
            suspicion=None if previous.cause else cause,
            suspicious_answers=(),
            ask_again_seconds=terms.fault_seconds,
        )
    suspicious_answers = (*previous.suspicious_answers, type(answer))
    if previous.cause is None and not _is_believed(answer, suspicious_answers):
        return replace(
            previous,
            suspicion=cause,
            suspicious_answers=suspicious_answers,
            ask_again_seconds=CONFIRM_SECONDS,
        )
    return Judgement(
        inventory=replace(previous.inventory, unhealthy=previous.inventory.ids),
        memory=previous.memory,
        cause=cause,
        ask_again_seconds=terms.fault_seconds,
    )


def _judge_reading(memory: TeeMemory, missing: Sequence[str], terms: Terms) -> Judgement:
    capacity_bytes = terms.capacity_bytes(memory)
    count = min(units.units_in(capacity_bytes, terms.unit_bytes), units.MAX_UNITS)
    ids = IdSet.first(count)
    if not missing:
        interval_seconds = terms.interval_seconds or None
        return Judgement(Inventory(ids), memory, ask_again_seconds=interval_seconds)
    cause = Cause(
        "missing-on-node",
        f"containers need {', '.join(missing)}, which this node lacks",
        "load the TEE's driver and start its daemon, or check --host-root",
    )
    return Judgement(
        Inventory(ids, unhealthy=ids), memory, cause, ask_again_seconds=terms.fault_seconds
    )


def _is_believed(answer: TeeError, suspicious_answers: Sequence[type[TeeError]]) -> bool:
    """Tell whether a fault is certain by its kind, or confirmed by those just before it."""
    if not isinstance(answer, Busy | TimedOut | BadReply):
        return True
    if len(suspicious_answers) > MOST_CONFIRMATIONS:
        return True
    failures = sum(not issubclass(kind, Busy) for kind in suspicious_answers)
    return failures > 1


def _still_silent(cause: Cause, previous: Judgement) -> Judgement:
    back_off_seconds = FIRST_BACK_OFF_SECONDS * 2**previous.faults_before_first
    return Judgement(
        cause=cause,
        faults_before_first=min(previous.faults_before_first + 1, 16),
        ask_again_seconds=min(back_off_seconds, FAULT_SECONDS),
    )


def check_terms(memory: TeeMemory, terms: Terms, least_units: int = 1) -> str | None:
    """Say what is wrong with the operator's terms for this TEE, or None; value, rule and cure."""
    capacity_bytes = terms.capacity_bytes(memory)
    count = units.units_in(capacity_bytes, terms.unit_bytes)
    precision_kb = terms.unit_bytes // units.KIB
    if count > units.MAX_UNITS:
        return (
            f"-precision {precision_kb}: {units.format_size(capacity_bytes)} make {count} units, "
            f"the kubelet takes at most {units.MAX_UNITS}: "
            f"give -precision {units.finest_precision_kb(capacity_bytes)} or more"
        )
    if count < least_units:
        return (
            f"-precision {precision_kb}: one unit is larger than the TEE's capacity of "
            f"{capacity_bytes // units.KIB} KB "
            f"({units.format_size(memory.total_bytes)} less a reserve of "
            f"{units.format_size(terms.reserve_bytes or 0)}): "
            f"give a smaller -precision (at least {units.MIN_PRECISION_KB}) or --reserve"
        )
    return None
