"""Which container holds which units: what the kubelet reports, and what was just allocated.

The kubelet enters an id into its records only after Allocate was answered, and its records are
empty for a while after it started. So ids that were handed out just now, and those of before its
restart, count as allocated for a time although the allocation records don't show them.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from teeplugin.policy.device_list import IdSet

RECENT_ALLOCATION_SECONDS = 60.0
"""How long an id counts as allocated before the kubelet reports it, and up to 1 s longer."""


class Holder(NamedTuple):
    """One container and the units it holds."""

    namespace: str
    pod: str
    container: str
    ids: IdSet


class _RecentAllocation(NamedTuple):
    """Ids that count as allocated until a monotonic time, or until the kubelet reports them."""

    ids: IdSet
    until: float


class AllocationRecords(NamedTuple):
    """The kubelet's allocation records as they were last read, and what was promised beside them.

    `holders` is None until they were read for the first time, `entered` are the ids in them. A
    value: each event makes another.
    """

    holders: tuple[Holder, ...] | None = None
    recorded: IdSet = IdSet()
    recent: tuple[_RecentAllocation, ...] = ()

    def allocated(self, now: float) -> IdSet | None:
        """The ids that count as allocated, or None while the allocation records are unknown."""
        if self.holders is None:
            return None
        allocated = self.recorded
        for each in self.recent:
            if each.until > now:
                allocated |= each.ids
        return allocated

    def has_unrecorded(self, now: float) -> bool:
        """Whether some ids count as allocated only because they were promised."""
        return any(each.until > now for each in self.recent)

    def with_allocated(self, ids: IdSet, now: float) -> "AllocationRecords":
        """These ids are handed out just now, whatever was promised of them before."""
        older = (_RecentAllocation(each.ids - ids, each.until) for each in self.recent)
        kept = [each for each in older if each.ids and each.until > now]
        # Those of a second together, so that there are never many to walk through.
        until = math.ceil(now) + RECENT_ALLOCATION_SECONDS
        if kept and kept[-1].until == until:
            ids |= kept.pop().ids
        return self._replace(recent=(*kept, _RecentAllocation(ids, until)))

    def read(
        self, holders: tuple[Holder, ...], now: float, *, restarted: bool = False
    ) -> "AllocationRecords":
        """The kubelet reports these holders now; `restarted` if it is another kubelet.

        Cheap where these are the very holders from before.
        """
        recent = self.recent
        if restarted:
            recent = (*recent, _RecentAllocation(self.recorded, now + RECENT_ALLOCATION_SECONDS))
        recorded = self.recorded if holders is self.holders else _ids_of(holders)
        # Once the kubelet reports an id, only the kubelet's report releases it.
        waiting = (_RecentAllocation(each.ids - recorded, each.until) for each in recent)
        kept = tuple(each for each in waiting if each.ids and each.until > now)
        return AllocationRecords(holders, recorded, kept)


def _ids_of(holders: Iterable[Holder]) -> IdSet:
    return IdSet.of(device_id for holder in holders for device_id in holder.ids)
