"""Random histories of a node against a model of it: what the decision may never do."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from teeplugin.policy.decide import (
    Decision,
    Holdings,
    PolicySettings,
    decide,
    missing_on_node,
    relist,
)
from teeplugin.policy.device_list import IdSet
from teeplugin.policy.shortage import Shortage, listed_ids, mark, units_to_show
from teeplugin_backends.base import Exhausted, TeeError, TeeMemory, Unreachable

UNIT = 512 * 1024
POLICY_SETTINGS = PolicySettings(unit_bytes=UNIT, reserve_bytes=0, interval_seconds=60)
IDS = st.sets(st.integers(0, 300), max_size=40).map(IdSet.of)


@given(st.integers(0, 200), IDS)
def test_a_list_has_all_that_is_allocated_and_no_more_than_fits_beside_it(
    count: int, allocated: IdSet
) -> None:
    ids = listed_ids(count, allocated)
    assert allocated - ids == IdSet()
    assert len(ids) == max(count, len(allocated))


@given(IDS, IDS, st.integers(0, 60), IDS)
def test_as_many_are_marked_as_asked_for_and_none_that_is_allocated(
    ids: IdSet, allocated: IdSet, short: int, before: IdSet
) -> None:
    marked = mark(ids, allocated, short, before).unhealthy
    unallocated = ids - allocated
    assert marked - unallocated == IdSet()
    assert len(marked) == min(short, len(unallocated))
    kept = before & unallocated
    # What was marked stays so, before anything else is.
    assert marked - kept == IdSet() or kept - marked == IdSet()


def test_exhaustion_does_not_hide_that_a_node_lacks_what_containers_need() -> None:
    decision = decide(
        TeeMemory(8 * UNIT, 8 * UNIT),
        missing_on_node(["/dev/teelog"], ""),
        Decision(),
        POLICY_SETTINGS,
    )
    holdings = Holdings(IdSet.of([1]), in_use=IdSet.of([1]))
    decision = decide(
        Exhausted("x"), missing_on_node(["/dev/teelog"], ""), decision, POLICY_SETTINGS, holdings
    )
    assert decision.cause is not None
    assert decision.device_list is not None
    assert decision.device_list.healthy == IdSet()


@given(IDS, IDS, IDS, st.integers(0, 300))
def test_pods_that_come_and_go_during_a_reading_raise_no_false_alarm(
    ids: IdSet, allocated: IdSet, came_or_went: IdSet, free_units: int
) -> None:
    in_use = allocated | came_or_went
    shown = units_to_show(ids, in_use, free_units * UNIT, UNIT)
    # Whatever part of them was allocated in the moment of the reading.
    assert shown <= units_to_show(ids, allocated, free_units * UNIT, UNIT)
    # And what all of them together can't explain is shown.
    assert shown >= len(ids - in_use) - free_units


@given(st.integers(0, 9), st.none() | st.integers(0, 9), st.integers(0, 9))
def test_only_what_two_readings_agree_on_is_shown(
    shown: int, seen_once: int | None, short: int
) -> None:
    after = Shortage(shown, seen_once).confirmed_by(short)
    if seen_once is None or (seen_once > shown) != (short > shown):
        assert after.units == shown
    elif short > shown:
        assert after.units == min(seen_once, short)
    else:
        assert after.units == max(seen_once, short)
    if seen_once == short:
        assert after == Shortage(short)


@dataclass
class Node:
    """A TEE, its pods and others, as they are; and what the plugin has made of its readings."""

    units: int = 128
    others: int = 0
    pods: list[IdSet] = field(default_factory=list)
    loaded: set[int] = field(default_factory=set)
    fault: TeeError | None = None
    decision: Decision = field(default_factory=Decision)

    @property
    def allocated(self) -> IdSet:
        return IdSet.of(device_id for ids in self.pods for device_id in ids)

    @property
    def free_units(self) -> int:
        used = self.others + sum(len(self.pods[pod]) for pod in self.loaded)
        return max(0, self.units - used)

    def admit(self, count: int) -> None:
        """The kubelet allocates units that it knows to be healthy."""
        assert self.decision.device_list is not None
        self._allocate(self.decision.device_list.healthy, count)

    def race(self, count: int) -> None:
        """The kubelet allocates before it knows that some of them were marked."""
        assert self.decision.device_list is not None
        if self.decision.cause is None:
            self._allocate(self.decision.device_list.ids, count)

    def _allocate(self, among: IdSet, count: int) -> None:
        ids = (among - self.allocated).highest(count)
        if ids:
            self.pods.append(ids)
            self.decision = relist(self.decision, self.allocated, POLICY_SETTINGS)
            self.check()

    def remove(self, _: int) -> None:
        if self.pods:
            self.pods.pop()
            self.loaded.discard(len(self.pods))

    def load(self, pod: int) -> None:
        if pod < len(self.pods):
            self.loaded.add(pod)

    def unload(self, pod: int) -> None:
        self.loaded.discard(pod)

    def take(self, units: int) -> None:
        self.others = units

    def resize(self, units: int) -> None:
        self.units = units

    def fail(self, _: int) -> None:
        self.fault = Unreachable("x")

    def exhaust(self, _: int) -> None:
        self.fault = Exhausted("x")

    def recover(self, _: int) -> None:
        self.fault = None

    def restart(self, _: int) -> None:
        """The plugin starts anew: it knows what the kubelet's allocation records tell."""
        self.decision, self.fault = Decision(), None
        self.read()

    def read(self, _: int = 0) -> None:
        """Have a reading judged that counts, and see that nothing forbidden followed."""
        answer = self.fault or TeeMemory(self.units * UNIT, self.free_units * UNIT)
        holdings = Holdings(self.allocated, in_use=self.allocated)
        self.decision = decide(answer, None, self.decision, POLICY_SETTINGS, holdings)
        self.check()

    def check(self) -> None:
        device_list = self.decision.device_list
        assert device_list is not None
        assert self.allocated - device_list.ids == IdSet()
        if self.decision.cause is None:
            assert self.allocated & device_list.unhealthy == IdSet()


_HAPPENINGS = (
    *("admit", "race", "remove", "load", "unload", "take", "resize"),
    *("fail", "exhaust", "recover", "restart", "read"),
)
EVENTS = st.tuples(st.sampled_from(_HAPPENINGS), st.integers(1, 160))


@settings(max_examples=300)
@given(st.lists(EVENTS, max_size=40))
def test_no_history_breaks_what_pods_hold_or_promises_what_is_not_there(
    history: list[tuple[str, int]],
) -> None:
    node = Node()
    node.read()
    for what, number in history:
        getattr(node, what)(number)
    # Now nothing moves any more: two readings agree, and one change of the list was enough.
    before = node.decision.device_list
    lists = [before]
    for _ in range(4):
        node.read()
        lists.append(node.decision.device_list)
    settled = node.decision.device_list
    assert settled is not None
    changes = sum(one != other for one, other in zip(lists[1:], lists, strict=False))
    if not isinstance(node.fault, Unreachable):
        free_units = 0 if node.fault else node.free_units
        assert len(settled.healthy - node.allocated) <= free_units
        # The ids may change at once with the capacity, the marks after the confirmation.
        assert changes <= 2
    node.fault, node.others, node.loaded = None, 0, set()
    for _ in range(3):
        node.read()
    assert node.decision.device_list is not None
    short = units_to_show(node.decision.device_list.ids, node.allocated, node.units * UNIT, UNIT)
    assert len(node.decision.device_list.unhealthy) == short
    if len(node.allocated) <= node.units:
        assert short == 0
        assert node.decision.cause is None
