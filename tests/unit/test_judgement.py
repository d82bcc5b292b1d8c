import pytest

from teeplugin.policy.decide import (
    CONFIRM_SECONDS,
    FAULT_SECONDS,
    MOST_CONFIRMATIONS,
    Judgement,
    Terms,
    check_terms,
    judge,
)
from teeplugin.policy.device_list import IdSet, Inventory
from teeplugin.policy.units import MAX_UNITS
from teeplugin_backends.base import (
    BadReply,
    Busy,
    Exhausted,
    Refused,
    TeeError,
    TeeMemory,
    TimedOut,
    Unreachable,
)

UNIT = 512 * 1024
TERMS = Terms(unit_bytes=UNIT, reserve_bytes=0, interval_seconds=60)
GOOD = TeeMemory(total_bytes=128 * UNIT, free_bytes=100 * UNIT)
ALL = IdSet.first(128)
HEALTHY = judge(GOOD, (), Judgement(), TERMS)


def after(*answers: TeeMemory | TeeError, terms: Terms = TERMS) -> Judgement:
    """Judge the answers one after the other, beginning with a good reading."""
    judgement = judge(GOOD, (), Judgement(), terms)
    for answer in answers:
        judgement = judge(answer, (), judgement, terms)
    return judgement


def test_a_good_reading_lists_what_the_capacity_holds() -> None:
    assert HEALTHY.inventory == Inventory(ALL)
    assert HEALTHY.ask_again_seconds == 60
    assert HEALTHY.cause is None


def test_the_reserve_is_taken_from_the_total_only() -> None:
    terms = TERMS._replace(reserve_bytes=28 * UNIT + 1)
    assert judge(GOOD, (), Judgement(), terms).inventory == Inventory(IdSet.first(99))


@pytest.mark.parametrize("fault", [Unreachable("x"), Refused("x")])
def test_a_certain_fault_makes_all_unhealthy_at_once(fault: TeeError) -> None:
    judgement = after(fault)
    assert judgement.inventory == Inventory(ALL, unhealthy=ALL)
    assert judgement.cause is not None
    assert judgement.cause.kind == fault.kind
    assert judgement.cause.cure
    assert judgement.ask_again_seconds == FAULT_SECONDS


@pytest.mark.parametrize("fault", [Busy("x"), TimedOut("x"), BadReply("x")])
def test_one_uncertain_fault_changes_nothing_and_is_asked_about_again(fault: TeeError) -> None:
    judgement = after(fault)
    assert judgement.inventory == HEALTHY.inventory
    assert judgement.cause is None
    assert judgement.suspicion is not None
    assert judgement.ask_again_seconds == CONFIRM_SECONDS


@pytest.mark.parametrize("first", [TimedOut("x"), BadReply("x")])
@pytest.mark.parametrize("second", [TimedOut("x"), BadReply("x")])
def test_a_second_failure_in_a_row_is_believed(first: TeeError, second: TeeError) -> None:
    judgement = after(first, second)
    assert judgement.inventory == Inventory(ALL, unhealthy=ALL)
    assert judgement.cause is not None
    assert judgement.cause.kind == second.kind


def test_a_busy_tee_is_asked_three_times_more_before_it_is_believed() -> None:
    busy = [Busy("x")] * (1 + MOST_CONFIRMATIONS)
    assert after(*busy[:-1]).inventory == HEALTHY.inventory
    assert after(*busy).inventory == Inventory(ALL, unhealthy=ALL)


def test_a_good_reading_between_failures_begins_the_count_anew() -> None:
    assert after(TimedOut("x"), GOOD, TimedOut("x")).inventory == HEALTHY.inventory


def test_a_fault_that_stands_stays_until_a_good_reading() -> None:
    judgement = after(Unreachable("x"), Busy("y"))
    assert judgement.inventory == Inventory(ALL, unhealthy=ALL)
    assert after(Unreachable("x"), Busy("y"), GOOD).inventory == HEALTHY.inventory


def test_recovery_ends_cause_and_suspicion() -> None:
    judgement = after(Refused("x"), GOOD)
    assert (judgement.cause, judgement.suspicion) == (None, None)


def test_exhaustion_is_no_fault_of_what_is_held_and_changes_nothing_here() -> None:
    judgement = after(Exhausted("x"))
    assert judgement.inventory == HEALTHY.inventory
    assert judgement.cause is None
    assert judgement.suspicion is not None


def test_exhaustion_after_a_fault_does_not_make_it_healthy() -> None:
    assert after(Unreachable("x"), Exhausted("x")).inventory == Inventory(ALL, unhealthy=ALL)


def test_what_containers_would_lack_makes_all_unhealthy_and_is_named() -> None:
    judgement = judge(GOOD, ("/dev/teelog",), HEALTHY, TERMS)
    assert judgement.inventory == Inventory(ALL, unhealthy=ALL)
    assert judgement.cause is not None
    assert "/dev/teelog" in judgement.cause.message
    assert judge(GOOD, (), judgement, TERMS).inventory == HEALTHY.inventory


def test_nothing_is_listed_before_the_first_reading_and_the_tee_is_asked_with_back_off() -> None:
    judgement, waits = Judgement(), []
    for _ in range(8):
        judgement = judge(Unreachable("x"), (), judgement, TERMS)
        assert judgement.inventory is None
        waits.append(judgement.ask_again_seconds)
    assert waits == [0.5, 1, 2, 4, 5, 5, 5, 5]
    assert judge(GOOD, (), judgement, TERMS).inventory == HEALTHY.inventory


def test_a_short_interval_shortens_the_wait_while_a_fault_stands() -> None:
    assert after(Refused("x"), terms=TERMS._replace(interval_seconds=1)).ask_again_seconds == 1


def test_with_interval_0_nobody_is_asked_again_but_a_fault_can_end() -> None:
    terms = TERMS._replace(interval_seconds=0)
    assert after(GOOD, terms=terms).ask_again_seconds is None
    assert after(Refused("x"), terms=terms).ask_again_seconds == FAULT_SECONDS


def test_capacity_moves_with_the_total() -> None:
    half = TeeMemory(total_bytes=64 * UNIT, free_bytes=0)
    assert after(half).inventory == Inventory(IdSet.first(64))
    assert after(half, GOOD).inventory == HEALTHY.inventory


def test_a_capacity_beyond_the_kubelets_limit_is_listed_up_to_the_limit() -> None:
    huge = TeeMemory(total_bytes=(MAX_UNITS + 1) * UNIT, free_bytes=0)
    assert after(huge).inventory == Inventory(IdSet.first(MAX_UNITS))


def test_terms_that_fit_are_passed() -> None:
    fits = TeeMemory(total_bytes=MAX_UNITS * UNIT, free_bytes=0)
    assert check_terms(fits, TERMS) is None
    assert check_terms(GOOD, TERMS._replace(unit_bytes=128 * UNIT)) is None


def test_a_precision_too_fine_is_refused_with_the_smallest_that_fits() -> None:
    huge = TeeMemory(total_bytes=(MAX_UNITS + 1) * UNIT, free_bytes=0)
    problem = check_terms(huge, TERMS)
    assert problem is not None
    assert "-precision 512" in problem
    assert "226601" in problem
    assert "give -precision 513 or more" in problem


def test_a_precision_larger_than_the_capacity_is_refused() -> None:
    problem = check_terms(GOOD, TERMS._replace(unit_bytes=100 * UNIT, reserve_bytes=29 * UNIT))
    assert problem is not None
    assert "-precision 51200" in problem
    assert "50688 KB" in problem
