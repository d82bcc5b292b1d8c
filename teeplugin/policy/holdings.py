"""Who holds which units, as far as it is known: pure; kept by the ledger, read by the judgement.

The kubelet enters an id into its books only after Allocate was answered, and its books are empty
for a while after it started. So ids that were handed out just now, and those of before its restart,
count as held for a time although the books don't show them.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from teeplugin.policy.device_list import IdSet

PROMISE_SECONDS = 60.0
"""How long an id counts as held without being in the kubelet's books, and up to 1 s longer."""


class Holder(NamedTuple):
    """One container and the units it holds."""

    namespace: str
    pod: str
    container: str
    ids: IdSet


class _Promise(NamedTuple):
    """Ids that count as held until a monotonic time, or until the books show them."""

    ids: IdSet
    until: float


class Books(NamedTuple):
    """The kubelet's books as they were last read, and what was promised beside them.

    `holders` is None until they were read for the first time, `entered` are the ids in them. A
    value: each event makes another.
    """

    holders: tuple[Holder, ...] | None = None
    entered: IdSet = IdSet()
    promises: tuple[_Promise, ...] = ()

    def held(self, now: float) -> IdSet | None:
        """The ids that count as held, or None while the books are unknown."""
        if self.holders is None:
            return None
        held = self.entered
        for promise in self.promises:
            if promise.until > now:
                held |= promise.ids
        return held

    def waits(self, now: float) -> bool:
        """Whether some ids count as held only because they were promised."""
        return any(promise.until > now for promise in self.promises)

    def promised(self, ids: IdSet, now: float) -> "Books":
        """These ids are handed out just now, whatever was promised of them before."""
        older = (_Promise(promise.ids - ids, promise.until) for promise in self.promises)
        kept = [promise for promise in older if promise.ids and promise.until > now]
        # Those of a second together, so that there are never many to walk through.
        until = math.ceil(now) + PROMISE_SECONDS
        if kept and kept[-1].until == until:
            ids |= kept.pop().ids
        return self._replace(promises=(*kept, _Promise(ids, until)))

    def read(self, holders: tuple[Holder, ...], now: float, *, restarted: bool = False) -> "Books":
        """The kubelet's books show these holders now; `restarted` if it is another kubelet's.

        Cheap where these are the very holders from before.
        """
        promises = self.promises
        if restarted:
            promises = (*promises, _Promise(self.entered, now + PROMISE_SECONDS))
        entered = self.entered if holders is self.holders else _ids_of(holders)
        # What has been entered is the books' to end from now on.
        waiting = (_Promise(promise.ids - entered, promise.until) for promise in promises)
        kept = tuple(promise for promise in waiting if promise.ids and promise.until > now)
        return Books(holders, entered, kept)


def _ids_of(holders: Iterable[Holder]) -> IdSet:
    return IdSet.of(device_id for holder in holders for device_id in holder.ids)
