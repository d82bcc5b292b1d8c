import re

import pytest

from teeplugin.policy.decide import (
    CONFIRM_SECONDS,
    FAULT_SECONDS,
    MAX_CONFIRMATIONS,
    Decision,
    PolicySettings,
    check_policy_settings,
    decide,
    missing_fix,
    missing_on_node,
)
from teeplugin.policy.device_list import DeviceList, IdSet
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
POLICY_SETTINGS = PolicySettings(unit_bytes=UNIT, reserve_bytes=0, interval_seconds=60)
GOOD = TeeMemory(total_bytes=128 * UNIT, free_bytes=100 * UNIT)
ALL = IdSet.first(128)
HEALTHY = decide(GOOD, None, Decision(), POLICY_SETTINGS)


def after(
    *answers: TeeMemory | TeeError, policy_settings: PolicySettings = POLICY_SETTINGS
) -> Decision:
    """Judge the answers one after the other, beginning with a good reading."""
    decision = decide(GOOD, None, Decision(), policy_settings)
    for answer in answers:
        decision = decide(answer, None, decision, policy_settings)
    return decision


def test_a_good_reading_lists_what_the_capacity_holds() -> None:
    assert HEALTHY.device_list == DeviceList(ALL)
    assert HEALTHY.ask_again_seconds == 60
    assert HEALTHY.cause is None


def test_the_reserve_is_taken_from_the_total_only() -> None:
    policy_settings = POLICY_SETTINGS._replace(reserve_bytes=28 * UNIT + 1)
    assert decide(GOOD, None, Decision(), policy_settings).device_list == DeviceList(
        IdSet.first(99)
    )


@pytest.mark.parametrize("fault", [Unreachable("x"), Refused("x")])
def test_a_certain_fault_makes_all_unhealthy_at_once(fault: TeeError) -> None:
    decision = after(fault)
    assert decision.device_list == DeviceList(ALL, unhealthy=ALL)
    assert decision.cause is not None
    assert decision.cause.kind == fault.kind
    assert decision.cause.fix
    assert decision.ask_again_seconds == FAULT_SECONDS


@pytest.mark.parametrize("fault", [Busy("x"), TimedOut("x"), BadReply("x")])
def test_one_uncertain_fault_changes_nothing_and_is_asked_about_again(fault: TeeError) -> None:
    decision = after(fault)
    assert decision.device_list == HEALTHY.device_list
    assert decision.cause is None
    assert decision.suspected_fault is not None
    assert decision.ask_again_seconds == CONFIRM_SECONDS


@pytest.mark.parametrize("first", [TimedOut("x"), BadReply("x")])
@pytest.mark.parametrize("second", [TimedOut("x"), BadReply("x")])
def test_a_second_failure_in_a_row_is_confirmed(first: TeeError, second: TeeError) -> None:
    decision = after(first, second)
    assert decision.device_list == DeviceList(ALL, unhealthy=ALL)
    assert decision.cause is not None
    assert decision.cause.kind == second.kind


def test_a_busy_tee_is_asked_three_times_more_before_it_is_confirmed() -> None:
    busy = [Busy("x")] * (1 + MAX_CONFIRMATIONS)
    assert after(*busy[:-1]).device_list == HEALTHY.device_list
    assert after(*busy).device_list == DeviceList(ALL, unhealthy=ALL)


def test_a_good_reading_between_failures_begins_the_count_anew() -> None:
    assert after(TimedOut("x"), GOOD, TimedOut("x")).device_list == HEALTHY.device_list


def test_a_fault_that_stands_stays_until_a_good_reading() -> None:
    decision = after(Unreachable("x"), Busy("y"))
    assert decision.device_list == DeviceList(ALL, unhealthy=ALL)
    assert after(Unreachable("x"), Busy("y"), GOOD).device_list == HEALTHY.device_list


def test_recovery_ends_cause_and_suspected_fault() -> None:
    decision = after(Refused("x"), GOOD)
    assert (decision.cause, decision.suspected_fault) == (None, None)


def test_exhaustion_is_no_fault_of_what_is_allocated_and_changes_nothing_here() -> None:
    decision = after(Exhausted("x"))
    assert decision.device_list == HEALTHY.device_list
    assert decision.cause is None
    assert decision.suspected_fault is not None


def test_exhaustion_after_a_fault_does_not_make_it_healthy() -> None:
    assert after(Unreachable("x"), Exhausted("x")).device_list == DeviceList(ALL, unhealthy=ALL)


def test_what_containers_would_lack_makes_all_unhealthy_and_is_named() -> None:
    decision = decide(GOOD, missing_on_node(["/dev/teelog"], ""), HEALTHY, POLICY_SETTINGS)
    assert decision.device_list == DeviceList(ALL, unhealthy=ALL)
    assert decision.cause is not None
    assert "/dev/teelog" in decision.cause.message
    assert decide(GOOD, None, decision, POLICY_SETTINGS).device_list == HEALTHY.device_list


def test_nothing_is_listed_before_the_first_reading_and_the_tee_is_asked_with_back_off() -> None:
    decision, waits = Decision(), []
    for _ in range(8):
        decision = decide(Unreachable("x"), None, decision, POLICY_SETTINGS)
        assert decision.device_list is None
        waits.append(decision.ask_again_seconds)
    assert waits == [0.5, 1, 2, 4, 5, 5, 5, 5]
    assert decide(GOOD, None, decision, POLICY_SETTINGS).device_list == HEALTHY.device_list


def test_a_short_interval_shortens_the_wait_while_a_fault_stands() -> None:
    assert (
        after(
            Refused("x"), policy_settings=POLICY_SETTINGS._replace(interval_seconds=1)
        ).ask_again_seconds
        == 1
    )


def test_with_interval_0_nobody_is_asked_again_but_a_fault_can_end() -> None:
    policy_settings = POLICY_SETTINGS._replace(interval_seconds=0)
    assert after(GOOD, policy_settings=policy_settings).ask_again_seconds is None
    assert after(Refused("x"), policy_settings=policy_settings).ask_again_seconds == FAULT_SECONDS


def test_capacity_moves_with_the_total() -> None:
    half = TeeMemory(total_bytes=64 * UNIT, free_bytes=0)
    assert after(half).device_list == DeviceList(IdSet.first(64))
    assert after(half, GOOD).device_list == HEALTHY.device_list


def test_a_capacity_beyond_the_kubelets_limit_is_listed_up_to_the_limit() -> None:
    huge = TeeMemory(total_bytes=(MAX_UNITS + 1) * UNIT, free_bytes=0)
    assert after(huge).device_list == DeviceList(IdSet.first(MAX_UNITS))


def test_terms_that_fit_are_passed() -> None:
    fits = TeeMemory(total_bytes=MAX_UNITS * UNIT, free_bytes=0)
    assert check_policy_settings(fits, POLICY_SETTINGS) is None
    assert check_policy_settings(GOOD, POLICY_SETTINGS._replace(unit_bytes=128 * UNIT)) is None


def test_a_precision_too_fine_is_refused_with_the_smallest_that_fits() -> None:
    huge = TeeMemory(total_bytes=(MAX_UNITS + 1) * UNIT, free_bytes=0)
    problem = check_policy_settings(huge, POLICY_SETTINGS)
    assert problem is not None
    assert "-precision 512" in problem
    assert "226601" in problem
    assert "give -precision 513 or more" in problem


def test_a_precision_larger_than_the_capacity_is_refused() -> None:
    problem = check_policy_settings(
        GOOD, POLICY_SETTINGS._replace(unit_bytes=100 * UNIT, reserve_bytes=29 * UNIT)
    )
    assert problem is not None
    assert "-precision 51200" in problem
    assert "50688 KB" in problem


def test_what_to_do_about_a_missing_path_is_the_backends_to_say() -> None:
    assert missing_fix("modprobe sgx") == "modprobe sgx, or check --host-root"
    neutral = missing_fix("")
    assert neutral.startswith("load the TEE's driver")
    assert not re.search("OP-TEE|teecd|backend-option", neutral)
