from hypothesis import given
from hypothesis import strategies as st

from teeplugin.policy.allocation_records import RECENT_ALLOCATION_SECONDS, AllocationRecords, Holder
from teeplugin.policy.device_list import IdSet

IDS = st.sets(st.integers(0, 50), max_size=8).map(IdSet.of)
LONG = RECENT_ALLOCATION_SECONDS + 1


def holder(*ids: int, pod: str = "pod") -> Holder:
    return Holder("default", pod, "main", IdSet.of(ids))


def test_nothing_is_known_before_the_records_were_read() -> None:
    assert AllocationRecords().allocated(0) is None
    assert AllocationRecords().with_allocated(IdSet.of([1]), 0).allocated(0) is None


def test_ids_handed_out_are_allocated_at_once_and_until_the_records_end_it() -> None:
    records = AllocationRecords().read((), 0).with_allocated(IdSet.of([1, 2]), 0)
    assert records.allocated(0) == IdSet.of([1, 2])
    shown = records.read((holder(1, 2),), 1)
    assert shown.allocated(1) == IdSet.of([1, 2])
    assert shown.read((), 2).allocated(2) == IdSet()


def test_ids_that_the_records_never_show_are_free_after_a_minute() -> None:
    records = AllocationRecords().read((), 0).with_allocated(IdSet.of([1]), 0)
    assert records.read((), 59).allocated(59) == IdSet.of([1])
    assert records.allocated(LONG) == IdSet()
    assert records.read((), LONG).recent == ()


def test_many_promises_of_a_second_are_walked_through_as_one() -> None:
    records = AllocationRecords().read((), 0)
    for number in range(1_000):
        records = records.with_allocated(IdSet.of([number]), 5 + number / 1_000)
    assert len(records.recent) <= 2
    assert records.allocated(64) == IdSet.first(1_000)
    assert records.allocated(66) == IdSet()


def test_an_id_entered_for_one_container_says_nothing_of_the_others() -> None:
    records = (
        AllocationRecords().read((), 0).with_allocated(IdSet.of([1, 2]), 0).read((holder(1),), 1)
    )
    assert records.allocated(1) == IdSet.of([1, 2])
    assert records.read((), 2).allocated(2) == IdSet.of([2])


def test_after_a_kubelets_restart_old_and_new_are_united_for_a_minute() -> None:
    records = AllocationRecords().read((holder(1, 2), holder(7, pod="other")), 0)
    restarted = records.read((), 10, restarted=True)
    assert restarted.allocated(10) == IdSet.of([1, 2, 7])
    known_again = restarted.read((holder(1, 2),), 20)
    assert known_again.allocated(20) == IdSet.of([1, 2, 7])
    assert known_again.allocated(10 + LONG) == IdSet.of([1, 2])


@given(IDS, IDS, IDS)
def test_what_is_allocated_is_what_is_entered_or_promised(
    recorded: IdSet, with_allocated: IdSet, later: IdSet
) -> None:
    records = (
        AllocationRecords()
        .read((Holder("n", "p", "c", recorded),), 0)
        .with_allocated(with_allocated, 0)
    )
    assert records.allocated(1) == recorded | with_allocated
    reread = records.read((Holder("n", "p", "c", later),), 1)
    assert reread.allocated(1) == later | (with_allocated - recorded - later) | (
        with_allocated & recorded - later
    )
