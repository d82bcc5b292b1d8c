"""Checks of what the TEE answered, and of the units that come of it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from teeplugin.commands.doctor.evidence import (
    Evidence,
    NotSeenError,
    RecordedAllocation,
    RecordsSeen,
    seen,
)
from teeplugin.commands.doctor.model import Outcome, failed, not_applicable, ok, warning
from teeplugin.config.settings import Settings
from teeplugin.policy import units
from teeplugin.policy.cdi_spec import too_many_units
from teeplugin.policy.device_list import IdSet
from teeplugin.policy.units import flag_size, format_size
from teeplugin_backends.base import QUERY_SECONDS, Busy, Exhausted, TeeMemory, TimedOut

SLOW_SECONDS = 1.0
"""A query of a fresh helper takes 25 ms: one that takes so long waited for something."""

_MIB = units.KIB**2
_NO_READING = not_applicable("unknown without a reading: see query")


def query(evidence: Evidence) -> Outcome:
    """The TEE gives a reading, and soon."""
    answer = evidence.answer
    if answer is None:
        if evidence.backend_problem:
            return not_applicable("there is no backend: see backend")
        raise NotSeenError("the backend's answer")
    if (error := answer.error) is not None:
        text = f"{error.kind}: {error}"
        # It may just have been asked by the plugin, whose trusted application has one session.
        return (warning if isinstance(error, Busy) else failed)(text, error.fix)
    if answer.seconds > SLOW_SECONDS:
        text = f"a reading came after {answer.seconds:.1f} s; {QUERY_SECONDS:g} s is the timeout"
        return warning(text, TimedOut.default_fix)
    return ok(f"a reading after {answer.seconds * 1000:.0f} ms")


def figures(evidence: Evidence) -> Outcome:
    """What the TEE has and what of it becomes units."""
    memory = evidence.reading
    if memory is None:
        return _NO_READING
    capacity_bytes, unit_bytes = _capacity_bytes(evidence, memory), evidence.unit_bytes
    count = units.units_in(capacity_bytes, unit_bytes)
    text = (
        f"{format_size(memory.total_bytes)} in all, {format_size(memory.free_bytes)} free; "
        f"a reserve of {format_size(evidence.reserve_bytes)} leaves "
        f"{format_size(capacity_bytes)}, {units.counted(count, 'unit')} of "
        f"{format_size(unit_bytes)}"
    )
    if not memory.free_bytes:
        return warning(text, Exhausted.default_fix)
    return ok(text)


def reserve(evidence: Evidence) -> Outcome:
    """The reserve covers what is in use and no pod's; see docs/doctor.md for the other way."""
    memory, reserve_bytes = evidence.reading, evidence.reserve_bytes
    if memory is None:
        return _NO_READING
    kept = f"{format_size(reserve_bytes)} are kept"
    if reserve_bytes >= memory.total_bytes:
        text = f"{kept} of {format_size(memory.total_bytes)}: nothing is left for units"
        return failed(text, "leave out --reserve to use the backend's default, or give less")
    used_bytes = memory.total_bytes - memory.free_bytes
    allocated = evidence.allocated_units
    if allocated is None:
        if used_bytes > reserve_bytes:
            text = f"{kept}, {format_size(used_bytes)} are in use, and holders are unknown"
            return not_applicable(text)
        allocated = 0
    unit_bytes = evidence.unit_bytes
    unallocated_bytes = units.unallocated_use_bytes(used_bytes, allocated, unit_bytes)
    external_bytes = units.external_use_min_bytes(unallocated_bytes, reserve_bytes)
    if external_bytes:
        count = units.units_in(_capacity_bytes(evidence, memory), unit_bytes)
        short = units.units_short(max(0, count - allocated), memory.free_bytes, unit_bytes)
        text = (
            f"{kept}, but external use is at least {format_size(unallocated_bytes)}: "
            f"{short} of {count} units have no memory behind them"
        )
        enough = flag_size(-(-unallocated_bytes // _MIB) * _MIB)
        fix = (
            "end what uses the TEE's memory outside Kubernetes, and pods that use more than they "
            f"requested; if there is none, the TEE itself needs more: --reserve {enough}"
        )
        return warning(text, fix)
    if not (unused_bytes := reserve_bytes - unallocated_bytes):
        return ok(f"{kept}, and external use is not larger")
    unused = format_size(unused_bytes)
    return ok(f"{kept}, {unused} of them unused: this hides the same amount of external use")


def precision(evidence: Evidence) -> Outcome:
    """A unit of the settings fits the capacity, and the list of all units fits the kubelet."""
    memory = evidence.reading
    if memory is None:
        return _NO_READING
    settings = evidence.settings
    capacity_bytes = _capacity_bytes(evidence, memory)
    count = units.units_in(capacity_bytes, settings.unit_bytes)
    made = f"{units.counted(count, 'unit')} of {format_size(settings.unit_bytes)}"
    if (refused := _too_many(settings, capacity_bytes, count, made)) is not None:
        return refused
    if not count and evidence.reserve_bytes >= memory.total_bytes:
        return not_applicable("no memory is left for units: see reserve")
    if not count:
        text = f"one unit of {format_size(settings.unit_bytes)} is more than the capacity"
        finest = f"-precision {max(units.MIN_PRECISION_KB, capacity_bytes // units.KIB)} or less"
        least_bytes = units.MIN_PRECISION_KB * units.KIB
        too_little = capacity_bytes < least_bytes
        fix = f"give a --reserve that leaves {format_size(least_bytes)}" if too_little else finest
        return failed(text, fix)
    row_bytes = units.rows_bytes(count, units.HEALTHY_ROW_BYTES)
    text = f"{made}: a list of {row_bytes} bytes, of {units.KUBELET_MESSAGE_BYTES} at most"
    if count > units.COSTLY_UNITS:
        comfortable = units.comfortable_precision_kb(capacity_bytes)
        fix = f"give -precision {comfortable}, under a --resource-name of its own"
        return warning(f"{text}; this number costs the kubelet seconds at each restart", fix)
    return ok(text)


def _too_many(settings: Settings, capacity_bytes: int, count: int, made: str) -> Outcome | None:
    """Refuse more units than the kubelet takes, or than a CDI specification has."""
    if count > units.MAX_UNITS:
        fix = f"give -precision {units.finest_precision_kb(capacity_bytes)} or more"
        return failed(f"{made}: the kubelet takes at most {units.MAX_UNITS}", fix)
    excess = too_many_units(capacity_bytes, settings.unit_bytes) if settings.cdi == "on" else None
    return failed(excess.problem, excess.fix) if excess else None


def allocated_unit_size(evidence: Evidence) -> Outcome:
    """Units that pods hold were counted in the size that they have now."""
    recorded = seen(evidence.recorded, "the kubelet's checkpoint")
    by_size = _units_by_size(recorded, evidence.records, evidence.unit_bytes)
    others = {size: count for size, count in by_size.items() if size != evidence.unit_bytes}
    if others:
        sizes = " and ".join(
            f"{units.counted(allocated, 'unit')} of {format_size(size)}"
            for size, allocated in others.items()
        )
        text = f"pods hold {sizes}, which now count as {format_size(evidence.unit_bytes)}"
        fix = "create these pods again, or give each precision its own --resource-name"
        return warning(text, fix)
    if not by_size:
        return ok("no pod holds units")
    return ok(f"pods hold {units.counted(sum(by_size.values()), 'unit')} of this size")


def _units_by_size(
    recorded: Sequence[RecordedAllocation], records: RecordsSeen | None, unit_bytes: int
) -> Mapping[int, int]:
    """Count units by the size that their container was told.

    Those of ended pods aren't counted where the kubelet tells who holds which: a container and one
    that ended may have the same name and ids, and then the present size is taken.
    """
    if records is None or records.error:
        held = [(each.container, each.ids) for each in recorded]
    else:
        held = [(container, ids) for (_, _, container), ids in records.allocated.items()]
    sizes = defaultdict[tuple[str, IdSet], set[int]](set)
    for each in recorded:
        sizes[each.container, each.ids].add(each.unit_bytes)
    counted = Counter[int]()
    for key in dict.fromkeys(held):
        if found := sizes.get(key):
            counted[unit_bytes if unit_bytes in found else min(found)] += len(key[1])
    return counted


def _capacity_bytes(evidence: Evidence, memory: TeeMemory) -> int:
    return units.capacity_bytes(memory.total_bytes, evidence.reserve_bytes)
