"""tee-limit as a host service: after a restart of the TEE, and after hooks that never came."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.tee.limits import Container, Limits, container

pytestmark = [
    pytest.mark.only_root("makes pid namespaces, as a container's are"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def two() -> Iterator[tuple[Container, Container]]:
    with container() as one, container() as other:
        yield one, other


def reconcile(limits: Limits, problem: str = "") -> None:
    ended = limits.run("reconcile")
    assert ended.returncode == (1 if problem else 0), ended.stderr
    assert problem in ended.stderr
    told = limits.told("reconciled")
    assert problem in told["problem"]
    assert int(told["time"]) > 0


def limited(limits: Limits, *containers: Container) -> None:
    """Exactly these have a group, each its own."""
    assert sorted(limits.groups.values()) == sorted(f"{one.namespace} 5120K" for one in containers)
    assert limits.told("summary") == {"limited": str(len(containers)), "unset": "0", "unknown": "0"}


def test_where_all_is_well_the_tee_is_not_asked(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    for each in two:
        limits.set(each)
    calls = limits.calls
    reconcile(limits)
    assert limits.calls == calls
    limited(limits, *two)


def test_after_a_restart_of_the_tee_living_containers_are_limited_again(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    for each in two:
        limits.set(each)
    limits.restart_tee()
    assert limits.groups == {}
    reconcile(limits)
    limited(limits, *two)
    for each in two:
        limits.clean(each)
    assert limits.groups == {}


def test_the_summary_says_who_is_unlimited_before_it_is_mended(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    one, other = two
    limits.set(one)
    limits.restart_tee()
    limits.set(other)
    assert limits.told("summary") == {"limited": "1", "unset": "1", "unknown": "0"}
    reconcile(limits)
    limited(limits, *two)


def test_a_group_that_another_container_has_now_is_not_cleaned_for_an_old_one(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    one, other = two
    limits.set(one)
    limits.restart_tee()
    # The TEE numbers anew, and gives the second what the first had.
    limits.set(other)
    assert list(limits.groups) == [5]
    limits.clean(one)
    limited(limits, other)


def test_the_same_without_a_new_socket_of_teecd(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    one, other = two
    limits.set(one)
    socket = limits.teecd.rename(limits.directory / "kept")
    limits.restart_tee()
    socket.rename(limits.teecd)
    limits.set(other)
    limits.clean(one)
    assert list(limits.groups.values()) == [f"{other.namespace} 5120K"]


def test_a_restart_of_teecd_alone_leaves_one_group_for_each_container(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    for each in two:
        limits.set(each)
    limits.restart_teecd()
    assert limits.run("reconcile").returncode == 0
    limited(limits, *two)
    limits.teecd.chmod(0o666)
    calls = limits.calls
    reconcile(limits)
    assert limits.calls == calls


def test_a_container_that_ends_while_teecd_is_down_is_cleaned_up_later(limits: Limits) -> None:
    with container() as gone:
        limits.set(gone)
    socket = limits.teecd.rename(limits.directory / "kept")
    limits.clean(gone)
    assert len(limits.groups) == 1
    socket.rename(limits.teecd)
    reconcile(limits)
    assert limits.groups == {}
    assert limits.recorded == {}


def test_a_container_whose_poststop_never_came_is_cleaned_up(limits: Limits) -> None:
    with container() as gone:
        limits.set(gone)
    with container() as lives:
        limits.set(lives)
        reconcile(limits)
        limited(limits, lives)
        limits.clean(gone)
        limited(limits, lives)


def test_after_a_restart_nothing_is_cleaned_for_those_that_ended_before(limits: Limits) -> None:
    with container() as gone:
        limits.set(gone)
    limits.restart_tee()
    with container() as lives:
        limits.set(lives)
        reconcile(limits)
        limited(limits, lives)
    assert not any("--clean" in call for call in limits.calls)


def test_a_namespaces_number_that_is_given_out_again_leaves_one_group(limits: Limits) -> None:
    with container() as gone:
        limits.set(gone)
    record = limits.records / "containers" / gone.id
    with container() as lives:
        text = record.read_text()
        old, new = f"namespace={re.findall('namespace=(.*?) ', text)[0]} ", lives.namespace
        record.write_text(text.replace(old, f"namespace={new} "))
        limits.set(lives)
        limited(limits, lives)
        assert list(limits.recorded) == [lives.id]


def test_a_process_that_took_over_the_pid_is_no_reason_to_keep_a_group(limits: Limits) -> None:
    with container() as gone:
        limits.set(gone)
    record = limits.records / "containers" / gone.id
    with container() as other:
        record.write_text(record.read_text().replace(f"pid={gone.pid} ", f"pid={other.pid} "))
        reconcile(limits)
    assert limits.groups == {}


def test_while_teecd_is_down_nothing_is_forgotten(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    limits.set(two[0])
    limits.teecd.unlink()
    reconcile(limits, "teecd is not running")
    assert list(limits.recorded) == [two[0].id]
    limits.restart_tee()
    reconcile(limits)
    limited(limits, two[0])


def test_a_tee_that_still_fails_is_told_and_tried_again(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    for each in two:
        limits.set(each)
    limits.restart_tee()
    limits.behave("ret -1")
    reconcile(limits, "the TEE refused to limit it")
    assert limits.told("summary") == {"limited": "0", "unset": "2", "unknown": "0"}
    limits.behave("")
    reconcile(limits)
    limited(limits, *two)


def test_a_hanging_tee_leaves_the_groups_unknown_until_it_restarts(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    limits.behave("hang")
    limits.refusal(two[0])
    limits.behave("")
    reconcile(limits)
    with container() as gone:
        limits.behave("hang")
        limits.refusal(gone)
        limits.behave("")
    reconcile(limits)
    assert limits.told("summary")["unknown"] == "1"
    limits.restart_tee()
    reconcile(limits)
    assert limits.told("summary")["unknown"] == "0"
    assert gone.id not in limits.recorded


def test_secure_storage_is_set_again_as_well(
    limits: Limits, two: tuple[Container, Container]
) -> None:
    limits.set(two[0], 5120, "--secure-storage")
    limits.restart_tee()
    for path in (limits.mock / "storage").iterdir():
        path.unlink()
    reconcile(limits)
    assert (limits.mock / "storage" / two[0].id).exists()


@pytest.mark.parametrize("content", ["", "1 pid=", "2 x\n", "1 " + "9" * 600, "\x00\xff"])
def test_a_record_that_is_none_is_told_and_keeps_nobody_else(
    limits: Limits, two: tuple[Container, Container], content: str
) -> None:
    limits.set(two[0])
    limits.restart_tee()
    (limits.records / "containers" / "odd").write_text(content)
    ended = limits.run("reconcile")
    assert "odd: is no record" in ended.stderr
    assert list(limits.groups.values()) == [f"{two[0].namespace} 5120K"]


def test_200_containers_started_and_ended_at_random_leave_no_group(limits: Limits) -> None:
    """Some without their poststop hook, with restarts of the TEE between."""
    chance = random.Random(19)  # noqa: S311 - which container ends is no secret
    started = 0
    with ExitStack() as everything:
        living: dict[Container, ExitStack] = {}
        while started < 200 or living:
            if started < 200 and len(living) < 20 and chance.random() < 0.6:
                stack = everything.enter_context(ExitStack())
                one = stack.enter_context(container())
                limits.set(one)
                living[one] = stack
                started += 1
            elif living:
                one = chance.choice(list(living))
                living.pop(one).close()
                if chance.random() < 0.8:
                    limits.clean(one)
            if chance.random() < 0.05:
                limits.restart_tee()
            if chance.random() < 0.1:
                reconcile(limits)
                limited(limits, *living)
        reconcile(limits)
    assert limits.groups == {}
    assert limits.recorded == {}
