"""How often slices are published: bounded, and some of it kept for what is urgent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.dra.publisher import BURST, RESERVED, SPACING_SECONDS, Budget


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_change_of_capacity_waits_and_others_do_not() -> None:
    clock = Clock()
    budget = Budget(clock)
    assert budget.wait_seconds(urgent=False) == 0
    for _ in range(BURST - RESERVED):
        budget.spend()
    assert budget.wait_seconds(urgent=False) == SPACING_SECONDS
    assert budget.wait_seconds(urgent=True) == 0
    clock.now += 4
    assert budget.wait_seconds(urgent=False) == pytest.approx(SPACING_SECONDS - 4)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=200))
def test_publications_are_bounded(tries: list[tuple[float, bool]]) -> None:
    clock = Clock()
    budget = Budget(clock)
    made = 0
    for seconds, urgent in tries:
        clock.now += seconds
        if budget.wait_seconds(urgent=urgent) <= 0:
            budget.spend()
            made += 1
        assert made <= BURST + 1 + clock.now / SPACING_SECONDS


def test_the_burst_is_refilled() -> None:
    clock = Clock()
    budget = Budget(clock)
    for _ in range(BURST):
        assert budget.wait_seconds(urgent=True) == 0
        budget.spend()
    assert 0 < budget.wait_seconds(urgent=True) <= SPACING_SECONDS
    clock.now += SPACING_SECONDS * BURST
    for _ in range(BURST):
        assert budget.wait_seconds(urgent=True) == 0
        budget.spend()
