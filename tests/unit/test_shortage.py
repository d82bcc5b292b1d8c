"""Random histories of a node against a model of it: what the judgement may never do."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from teeplugin.policy.decide import Holdings, Judgement, Terms, judge, relist
from teeplugin.policy.device_list import IdSet
from teeplugin.policy.shortage import Shortage, listed_ids, mark, units_to_show
from teeplugin_backends.base import Exhausted, TeeError, TeeMemory, Unreachable

UNIT = 512 * 1024
TERMS = Terms(unit_bytes=UNIT, reserve_bytes=0, interval_seconds=60)
IDS = st.sets(st.integers(0, 300), max_size=40).map(IdSet.of)


@given(st.integers(0, 200), IDS)
def test_a_list_has_all_that_is_held_and_no_more_than_fits_beside_it(
    count: int, held: IdSet
) -> None:
    ids = listed_ids(count, held)
    assert held - ids == IdSet()
    assert len(ids) == max(count, len(held))


@given(IDS, IDS, st.integers(0, 60), IDS)
def test_as_many_are_marked_as_asked_for_and_none_that_is_held(
    ids: IdSet, held: IdSet, short: int, before: IdSet
) -> None:
    marked = mark(ids, held, short, before).unhealthy
    unheld = ids - held
    assert marked - unheld == IdSet()
    assert len(marked) == min(short, len(unheld))
    kept = before & unheld
    # What was marked stays so, before anything else is.
    assert marked - kept == IdSet() or kept - marked == IdSet()


def test_exhaustion_does_not_hide_that_a_node_lacks_what_containers_need() -> None:
    judgement = judge(TeeMemory(8 * UNIT, 8 * UNIT), ("/dev/teelog",), Judgement(), TERMS)
    holdings = Holdings(IdSet.of([1]), counts=True)
    judgement = judge(Exhausted("x"), ("/dev/teelog",), judgement, TERMS, holdings)
    assert judgement.cause is not None
    assert judgement.inventory is not None
    assert judgement.inventory.healthy == IdSet()


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
    judgement: Judgement = field(default_factory=Judgement)

    @property
    def held(self) -> IdSet:
        return IdSet.of(device_id for ids in self.pods for device_id in ids)

    @property
    def free_units(self) -> int:
        used = self.others + sum(len(self.pods[pod]) for pod in self.loaded)
        return max(0, self.units - used)

    def admit(self, count: int) -> None:
        """The kubelet allocates units that it knows to be healthy."""
        assert self.judgement.inventory is not None
        self._allocate(self.judgement.inventory.healthy, count)

    def race(self, count: int) -> None:
        """The kubelet allocates before it knows that some of them were marked."""
        assert self.judgement.inventory is not None
        if self.judgement.cause is None:
            self._allocate(self.judgement.inventory.ids, count)

    def _allocate(self, among: IdSet, count: int) -> None:
        ids = (among - self.held).highest(count)
        if ids:
            self.pods.append(ids)
            self.judgement = relist(self.judgement, self.held, TERMS)
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
        """The plugin starts anew: it knows what the kubelet's books tell."""
        self.judgement, self.fault = Judgement(), None
        self.read()

    def read(self, _: int = 0) -> None:
        """Have a reading judged that counts, and see that nothing forbidden followed."""
        answer = self.fault or TeeMemory(self.units * UNIT, self.free_units * UNIT)
        holdings = Holdings(self.held, counts=True)
        self.judgement = judge(answer, (), self.judgement, TERMS, holdings)
        self.check()

    def check(self) -> None:
        inventory = self.judgement.inventory
        assert inventory is not None
        assert self.held - inventory.ids == IdSet()
        if self.judgement.cause is None:
            assert self.held & inventory.unhealthy == IdSet()


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
    before = node.judgement.inventory
    lists = [before]
    for _ in range(4):
        node.read()
        lists.append(node.judgement.inventory)
    settled = node.judgement.inventory
    assert settled is not None
    changes = sum(one != other for one, other in zip(lists[1:], lists, strict=False))
    if not isinstance(node.fault, Unreachable):
        free_units = 0 if node.fault else node.free_units
        assert len(settled.healthy - node.held) <= free_units
        # The ids may change at once with the capacity, the marks after the confirmation.
        assert changes <= 2
    node.fault, node.others, node.loaded = None, 0, set()
    for _ in range(3):
        node.read()
    assert node.judgement.inventory is not None
    short = units_to_show(node.judgement.inventory.ids, node.held, node.units * UNIT, UNIT)
    assert len(node.judgement.inventory.unhealthy) == short
    if len(node.held) <= node.units:
        assert short == 0
        assert node.judgement.cause is None
