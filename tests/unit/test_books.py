from hypothesis import given
from hypothesis import strategies as st

from teeplugin.policy.device_list import IdSet
from teeplugin.policy.holdings import PROMISE_SECONDS, Books, Holder

IDS = st.sets(st.integers(0, 50), max_size=8).map(IdSet.of)
LONG = PROMISE_SECONDS + 1


def holder(*ids: int, pod: str = "pod") -> Holder:
    return Holder("default", pod, "main", IdSet.of(ids))


def test_nothing_is_known_before_the_books_were_read() -> None:
    assert Books().held(0) is None
    assert Books().promised(IdSet.of([1]), 0).held(0) is None


def test_ids_handed_out_are_held_at_once_and_until_the_books_end_it() -> None:
    books = Books().read((), 0).promised(IdSet.of([1, 2]), 0)
    assert books.held(0) == IdSet.of([1, 2])
    shown = books.read((holder(1, 2),), 1)
    assert shown.held(1) == IdSet.of([1, 2])
    assert shown.read((), 2).held(2) == IdSet()


def test_ids_that_the_books_never_show_are_free_after_a_minute() -> None:
    books = Books().read((), 0).promised(IdSet.of([1]), 0)
    assert books.read((), 59).held(59) == IdSet.of([1])
    assert books.held(LONG) == IdSet()
    assert books.read((), LONG).promises == ()


def test_many_promises_of_a_second_are_walked_through_as_one() -> None:
    books = Books().read((), 0)
    for number in range(1_000):
        books = books.promised(IdSet.of([number]), 5 + number / 1_000)
    assert len(books.promises) <= 2
    assert books.held(64) == IdSet.first(1_000)
    assert books.held(66) == IdSet()


def test_an_id_entered_for_one_container_says_nothing_of_the_others() -> None:
    books = Books().read((), 0).promised(IdSet.of([1, 2]), 0).read((holder(1),), 1)
    assert books.held(1) == IdSet.of([1, 2])
    assert books.read((), 2).held(2) == IdSet.of([2])


def test_after_a_kubelets_restart_old_and_new_are_united_for_a_minute() -> None:
    books = Books().read((holder(1, 2), holder(7, pod="other")), 0)
    restarted = books.read((), 10, restarted=True)
    assert restarted.held(10) == IdSet.of([1, 2, 7])
    known_again = restarted.read((holder(1, 2),), 20)
    assert known_again.held(20) == IdSet.of([1, 2, 7])
    assert known_again.held(10 + LONG) == IdSet.of([1, 2])


@given(IDS, IDS, IDS)
def test_what_is_held_is_what_is_entered_or_promised(
    entered: IdSet, promised: IdSet, later: IdSet
) -> None:
    books = Books().read((Holder("n", "p", "c", entered),), 0).promised(promised, 0)
    assert books.held(1) == entered | promised
    reread = books.read((Holder("n", "p", "c", later),), 1)
    assert reread.held(1) == later | (promised - entered - later) | (promised & entered - later)
