"""Decides what to list, given what the TEE answered: the whole policy, pure.

| what came back                          | what is listed                                         |
|-----------------------------------------|--------------------------------------------------------|
| a good reading                          | as many units as the capacity holds; those that the    |
|                                         | free memory can't back Unhealthy, once a second reading|
|                                         | agrees (shortage.py)                                   |
| Busy, one TimedOut, one BadReply        | as before; asked again after 2 s, at most 3 times      |
| Unreachable, Refused, those confirmed   | all Unhealthy; asked every min(interval, 5 s)          |
| something containers need is missing    | all Unhealthy; asked every min(interval, 5 s)          |
| Exhausted                               | as a reading with nothing free                         |
| no reading yet since the start          | nothing at all; asked with back-off                    |

Units that pods hold are never Unhealthy for a shortage, and never withdrawn. While it is unknown
who holds which, no shortage is shown.
"""

from collections.abc import Sequence
from typing import NamedTuple

from teeplugin.policy import units
from teeplugin.policy.cdi_spec import too_many_units
from teeplugin.policy.device_list import DeviceList, IdSet
from teeplugin.policy.shortage import NO_SHORTAGE, Shortage, listed_ids, mark, units_to_show
from teeplugin_backends.base import (
    BadReply,
    Busy,
    Exhausted,
    TeeError,
    TeeMemory,
    TimedOut,
)

CONFIRM_SECONDS = 2.0
"""How long after an uncertain fault, or another shortage than is shown, the TEE is asked again."""

MAX_CONFIRMATIONS = 3
"""How often an uncertain fault is asked about again before it is confirmed."""

FAULT_SECONDS = 5.0
"""The longest wait between two queries while a fault stands, so that recovery is seen soon."""

MISSING_ON_NODE = "missing-on-node"
CDI_SPECIFICATION = "cdi-specification"
OF_THE_NODE = frozenset({MISSING_ON_NODE, CDI_SPECIFICATION})
"""Kinds of causes that are no fault of the TEE's, so that Allocate doesn't fail for them."""

KUBELET_WITHOUT_CDI = "kubelet-without-cdi"
"""The kind of cause with which a container would start without TEE access."""

SHORTAGE = "shortage"
"""What makes units unhealthy while there is no cause."""

FIRST_BACK_OFF_SECONDS = 0.5
"""The first wait while the TEE has given no reading yet; doubled at each fault, up to
`FAULT_SECONDS`."""


class PolicySettings(NamedTuple):
    """What the operator decided: one unit's bytes, the TEE OS's own share, and how often to ask.

    `reserve_bytes` None means the backend's own, which is known from its first reading on. With
    `cdi` there are no more units than a CDI specification has amounts.
    """

    unit_bytes: int
    reserve_bytes: int | None
    interval_seconds: float
    cdi: bool = False

    def resolved(self, default_reserve_bytes: int | None) -> "PolicySettings":
        """Put the backend's own reserve in where the operator names none."""
        if self.reserve_bytes is not None:
            return self
        return self._replace(reserve_bytes=default_reserve_bytes)

    def capacity_bytes(self, memory: TeeMemory) -> int:
        """What trusted applications can have of a reading's total."""
        return units.capacity_bytes(memory.total_bytes, self.reserve_bytes or 0)

    @property
    def fault_seconds(self) -> float:
        """How long to wait before the next query while a fault stands.

        With the interval 0 as well: a fault that was seen must be able to end by itself.
        """
        return min(self.interval_seconds or FAULT_SECONDS, FAULT_SECONDS)


class Cause(NamedTuple):
    """Why devices are unhealthy, or might soon be: a stable kind, what happened, what to do."""

    kind: str
    message: str
    fix: str


class Decision(NamedTuple):
    """What is to be listed and when to ask the TEE again.

    `device_list` is None until the first reading: nothing is registered then. `cause` stands for a
    fault that is confirmed, `suspected fault` for one that is not yet. `ask_again_seconds` None
    means only on request.
    """

    device_list: DeviceList | None = None
    memory: TeeMemory | None = None
    shortage: Shortage = NO_SHORTAGE
    cause: Cause | None = None
    suspected_fault: Cause | None = None
    unconfirmed_answers: tuple[type[TeeError], ...] = ()
    faults_before_first: int = 0
    ask_again_seconds: float | None = 0.0

    @property
    def unhealthy_kind(self) -> str:
        """The kind of what makes units unhealthy, where there are such."""
        return self.cause.kind if self.cause else SHORTAGE


class Holdings(NamedTuple):
    """Which units pods hold: `allocated` now, or None while that is unknown.

    `in_use` are all that were allocated at some moment of the reading, so that pods that come and
    go meanwhile can raise no false alarm. None: the reading doesn't count for shortage, because the
    allocation records could not be read, or because it came too soon to confirm the last one.
    """

    allocated: IdSet | None = None
    in_use: IdSet | None = None


_MISSING_FIX = "load the TEE's driver, and start its daemon if it has one"

UNKNOWN_HOLDINGS = Holdings()


def decide(
    answer: TeeMemory | TeeError,
    lack: Cause | None,
    previous: Decision,
    policy_settings: PolicySettings,
    holdings: Holdings = UNKNOWN_HOLDINGS,
) -> Decision:
    """Judge one answer of the TEE; `lack` is what containers would lack on this node."""
    if isinstance(answer, TeeMemory):
        return _decide_on_reading(answer, lack, previous, policy_settings, holdings)
    cause = Cause(answer.kind, str(answer), answer.fix)
    if previous.device_list is None or previous.memory is None:
        return _still_silent(cause, previous)
    if isinstance(answer, Exhausted):
        empty = TeeMemory(previous.memory.total_bytes, free_bytes=0)
        return _decide_on_exhaustion(
            cause,
            empty,
            lack,
            previous=previous,
            policy_settings=policy_settings,
            holdings=holdings,
        )
    unconfirmed_answers = (*previous.unconfirmed_answers, type(answer))
    if previous.cause is None and not _is_confirmed(answer, unconfirmed_answers):
        return previous._replace(
            suspected_fault=cause,
            unconfirmed_answers=unconfirmed_answers,
            ask_again_seconds=CONFIRM_SECONDS,
        )
    return Decision(
        device_list=previous.device_list._replace(unhealthy=previous.device_list.ids),
        memory=previous.memory,
        shortage=previous.shortage,
        cause=cause,
        ask_again_seconds=policy_settings.fault_seconds,
    )


def relist(
    previous: Decision, allocated: IdSet | None, policy_settings: PolicySettings
) -> Decision:
    """Judge anew what is listed, without a reading, because other units are allocated now."""
    if previous.memory is None or previous.cause is not None or allocated is None:
        return previous
    ids = listed_ids(_count(previous.memory, policy_settings), allocated)
    device_list = mark(ids, allocated, previous.shortage.units, _marked(previous))
    return previous._replace(device_list=device_list)


def _decide_on_reading(
    memory: TeeMemory,
    lack: Cause | None,
    previous: Decision,
    policy_settings: PolicySettings,
    holdings: Holdings,
) -> Decision:
    allocated = IdSet() if holdings.allocated is None else holdings.allocated
    ids = listed_ids(_count(memory, policy_settings), allocated)
    shortage = previous.shortage
    if holdings.in_use is not None:
        short = units_to_show(ids, holdings.in_use, memory.free_bytes, policy_settings.unit_bytes)
        # Where nothing healthy is listed yet, nothing can flap.
        anew = previous.device_list is None or previous.cause is not None
        shortage = Shortage(short) if anew else shortage.confirmed_by(short)
    if lack is not None:
        return Decision(
            DeviceList(ids, unhealthy=ids),
            memory,
            shortage,
            cause=lack,
            ask_again_seconds=policy_settings.fault_seconds,
        )
    # Where it didn't count for the shortage, the next one may.
    uncounted = holdings.allocated is not None and holdings.in_use is None
    unsure = uncounted or shortage.seen_once is not None
    interval_seconds = policy_settings.interval_seconds or None
    return Decision(
        mark(ids, allocated, shortage.units, _marked(previous)),
        memory,
        shortage,
        ask_again_seconds=CONFIRM_SECONDS if unsure and interval_seconds else interval_seconds,
    )


def _decide_on_exhaustion(
    cause: Cause,
    empty: TeeMemory,
    lack: Cause | None,
    *,
    previous: Decision,
    policy_settings: PolicySettings,
    holdings: Holdings,
) -> Decision:
    """Nothing is free: a shortage if the allocated ids are known, else a suspected fault."""
    if previous.cause is not None and holdings.in_use is None:
        return previous._replace(cause=cause, ask_again_seconds=policy_settings.fault_seconds)
    if holdings.allocated is None:
        decided = previous._replace(unconfirmed_answers=())
    else:
        decided = _decide_on_reading(empty, lack, previous, policy_settings, holdings)
    ask_again_seconds = min(
        decided.ask_again_seconds or FAULT_SECONDS, policy_settings.fault_seconds
    )
    suspected_fault = None if decided.cause else cause
    return decided._replace(suspected_fault=suspected_fault, ask_again_seconds=ask_again_seconds)


def _count(memory: TeeMemory, policy_settings: PolicySettings) -> int:
    return min(
        units.units_in(policy_settings.capacity_bytes(memory), policy_settings.unit_bytes),
        units.MAX_UNITS,
    )


def _marked(previous: Decision) -> IdSet:
    """The units that were Unhealthy for a shortage, rather than with all others for a fault."""
    if previous.device_list is None or previous.cause is not None:
        return IdSet()
    return previous.device_list.unhealthy


def missing_on_node(missing: Sequence[str], fix: str) -> Cause | None:
    """Name the cause if containers would lack these paths; `fix` is the backend's, or empty."""
    if not missing:
        return None
    return Cause(
        MISSING_ON_NODE,
        f"containers need {', '.join(missing)}, which are missing on this node",
        missing_fix(fix),
    )


def missing_fix(fix: str) -> str:
    """Say what to do where the node lacks what containers need: the backend's `fix`, if any."""
    return f"{fix or _MISSING_FIX}, or check --host-root"


def _is_confirmed(answer: TeeError, unconfirmed_answers: Sequence[type[TeeError]]) -> bool:
    """Tell whether a fault is certain by its kind, or confirmed by those just before it."""
    if not isinstance(answer, Busy | TimedOut | BadReply):
        return True
    if len(unconfirmed_answers) > MAX_CONFIRMATIONS:
        return True
    failures = sum(not issubclass(kind, Busy) for kind in unconfirmed_answers)
    return failures > 1


def _still_silent(cause: Cause, previous: Decision) -> Decision:
    back_off_seconds = FIRST_BACK_OFF_SECONDS * 2**previous.faults_before_first
    return Decision(
        cause=cause,
        faults_before_first=min(previous.faults_before_first + 1, 16),
        ask_again_seconds=min(back_off_seconds, FAULT_SECONDS),
    )


def check_policy_settings(memory: TeeMemory, policy_settings: PolicySettings) -> str | None:
    """Say what is wrong with the operator's terms for this TEE, or None; value, rule and fix."""
    reserve_bytes = policy_settings.reserve_bytes or 0
    if reserve_bytes >= memory.total_bytes:
        return (
            f"--reserve {units.flag_size(reserve_bytes)}: nothing is left of the TEE's "
            f"{units.format_size(memory.total_bytes)}: give a smaller --reserve"
        )
    capacity_bytes = policy_settings.capacity_bytes(memory)
    count = units.units_in(capacity_bytes, policy_settings.unit_bytes)
    precision_kb = policy_settings.unit_bytes // units.KIB
    if count > units.MAX_UNITS:
        return (
            f"-precision {precision_kb}: {units.format_size(capacity_bytes)} make {count} units, "
            f"the kubelet takes at most {units.MAX_UNITS}: "
            f"give -precision {units.finest_precision_kb(capacity_bytes)} or more"
        )
    if count < 1:
        return (
            f"-precision {precision_kb}: one unit is larger than the TEE's capacity of "
            f"{capacity_bytes // units.KIB} KB "
            f"({units.format_size(memory.total_bytes)} less a reserve of "
            f"{units.format_size(reserve_bytes)}): "
            f"give a smaller -precision (at least {units.MIN_PRECISION_KB}) or --reserve"
        )
    if policy_settings.cdi:
        excess = too_many_units(capacity_bytes, policy_settings.unit_bytes)
        return excess and f"{excess.problem}: {excess.fix}"
    return None
