"""Which units to list as unhealthy because the TEE's free memory can't back them: pure.

Called by the decision. What it finds is a lower bound: memory that was promised to pods which
haven't loaded their trusted applications yet hides as much that others have taken.
"""

from typing import NamedTuple

from teeplugin.policy import units
from teeplugin.policy.device_list import DeviceList, IdSet

STEPS = 128
"""Into how many steps a list is divided: each id that changes costs the kubelet."""


class Shortage(NamedTuple):
    """How many unallocated units are shown as short, and a number that only one reading gave."""

    units: int = 0
    seen_once: int | None = None

    def confirmed_by(self, short: int) -> "Shortage":
        """Take in what a further reading gives: what two in a row agree on is shown.

        Where both give more than is shown, it is the lesser of them; where both give less, the
        greater.
        """
        if short == self.units:
            return Shortage(self.units)
        if self.seen_once is None:
            return Shortage(self.units, seen_once=short)
        lesser, greater = sorted((short, self.seen_once))
        agreed = max(lesser, min(greater, self.units))
        return Shortage(agreed, seen_once=None if short == agreed else short)


NO_SHORTAGE = Shortage()


def units_to_show(ids: IdSet, allocated: IdSet, free_bytes: int, unit_bytes: int) -> int:
    """How many unallocated units a reading leaves unbacked, in whole steps of the list, upwards."""
    unallocated = len(ids - allocated)
    step = max(1, len(ids) // STEPS)
    short = units.units_short(unallocated, free_bytes, unit_bytes)
    return min(unallocated, -(-short // step) * step)


def listed_ids(count: int, allocated: IdSet) -> IdSet:
    """The ids of a list of `count`: all allocated ones, and the lowest that are free."""
    if allocated.end <= count:
        return IdSet.first(count)
    free = IdSet.first(count) - allocated
    return allocated | free.lowest(count - len(allocated))


def mark(ids: IdSet, allocated: IdSet, short: int, marked_before: IdSet) -> DeviceList:
    """Mark `short` unallocated ids, the highest first; marked ones stay marked.

    A marked id that the kubelet allocated all the same is held now, and another takes its place.
    """
    if not short:
        return DeviceList(ids)
    unallocated = ids - allocated
    staying = (marked_before & unallocated).highest(short)
    added = (unallocated - staying).highest(short - len(staying))
    return DeviceList(ids, unhealthy=staying | added)
