"""The poller with a TEE that plays a script: what is published and what is logged."""

import asyncio
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from teeplugin.config.settings import ConfigError
from teeplugin.policy.device_list import DeviceList, IdSet
from teeplugin_backends.base import (
    Exhausted,
    Refused,
    TeeMemory,
    Unreachable,
)
from tests.unit.tee.watched_poller import ALL, GOOD, UNIT, ScriptedTee, events, watched
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is uncertain be asked about again at once."""
    for module in ("policy.decide", "tee.poller"):
        monkeypatch.setattr(f"teeplugin.{module}.CONFIRM_SECONDS", 0.01)


async def test_failure_and_recovery_are_published_and_logged_once_each() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            await at.listed(DeviceList(ALL))
            for _ in range(3):
                await at.answer(Unreachable("nobody there"))
            published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
            assert published_list.fault is not None
            assert "nobody there" in published_list.fault
            await at.answer(GOOD)
            assert (await at.listed(DeviceList(ALL))).fault is None
    assert events(logs) == ["capacity", "tee_unhealthy", "tee_recovered"]
    (fault,) = (entry for entry in logs if entry["event"] == "tee_unhealthy")
    assert fault["cause"] == "unreachable"
    assert fault["fix"]


async def test_another_cause_is_logged_without_a_new_list() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            await at.answer(Unreachable("one"))
            frame = (await at.listed(DeviceList(ALL, unhealthy=ALL))).frame
            await at.answer(Refused("other"))
            assert at.latest_list.value is not None
            assert at.latest_list.value.frame is frame
            assert "other" in (at.latest_list.value.fault or "")
    assert [entry["cause"] for entry in logs if "cause" in entry] == ["unreachable", "refused"]


async def test_each_other_reading_is_logged_once_for_who_debugs() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            for free_bytes in (2 * UNIT, 2 * UNIT, UNIT):
                await at.answer(TeeMemory(total_bytes=4 * UNIT, free_bytes=free_bytes))
    readings = [entry for entry in logs if entry["event"] == "reading"]
    assert {entry["log_level"] for entry in readings} == {"debug"}
    assert [entry["free_bytes"] for entry in readings] == [2 * UNIT, UNIT]


async def test_a_query_that_hangs_is_given_up_at_the_deadline_and_confirmed_at_the_second() -> None:
    async with watched(query_seconds=0.05) as at:
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))
        at.poller.query_now()
        while at.tee.asked < 3:
            await anyio.lowlevel.checkpoint()
        at.poller.query_now()
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        assert "did not return within 0.05 s" in (published_list.fault or "")
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))


async def test_a_bug_in_a_backend_is_called_one_and_outlived() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            for _ in range(2):
                await at.answer(ZeroDivisionError("division by zero"))
            published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
            assert "ZeroDivisionError" in (published_list.fault or "")
            await at.answer(GOOD)
            await at.listed(DeviceList(ALL))
    assert "backend_bug" in events(logs)


@pytest.mark.parametrize("bug", ["raises", "hangs", "cancels itself"])
async def test_a_backend_that_can_not_be_entered_is_a_fault_that_ends_with_it(
    monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    tries = 0

    async def enter(self: ScriptedTee) -> ScriptedTee:
        nonlocal tries
        tries += 1
        if tries < 3:
            if bug == "hangs":
                await anyio.sleep_forever()
            raise asyncio.CancelledError if bug == "cancels itself" else ZeroDivisionError
        return self

    monkeypatch.setattr(ScriptedTee, "__aenter__", enter)
    monkeypatch.setattr("teeplugin.tee.poller.LOOK_SECONDS", 0.01)
    with capture_logs() as logs:
        async with watched() as at:
            await eventually("a third try", lambda: tries, until=lambda count: count == 3)
            await at.answer(GOOD)
            await at.listed(DeviceList(ALL))
            await at.answer(GOOD)
    assert at.poller.entered
    assert tries == 3
    assert "tee_unhealthy" in events(logs)


async def test_a_bug_in_access_is_a_fault_that_ends_with_it() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        at.tee.access_bug = KeyError("surprise")
        for _ in range(2):
            await at.answer(GOOD)
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        assert "a bug in the backend: access() or default_reserve_bytes raised KeyError" in (
            published_list.fault or ""
        )
        at.tee.access_bug = None
        await at.answer(GOOD)
        assert (await at.listed(DeviceList(ALL))).fault is None


async def test_a_bug_in_access_while_the_tee_is_exhausted_is_a_fault_as_well() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        at.tee.access_bug = KeyError("surprise")
        for _ in range(2):
            await at.answer(Exhausted("no memory"))
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        assert "raised KeyError" in (published_list.fault or "")
        at.tee.access_bug = None
        await at.answer(GOOD)
        assert (await at.listed(DeviceList(ALL))).fault is None


@pytest.mark.parametrize("wrong", ["17", None, 1.5, -1], ids=repr)
async def test_a_default_reserve_that_is_no_number_of_bytes_is_a_bug(
    wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ScriptedTee, "default_reserve_bytes", wrong)
        async with watched(reserve_bytes=None) as at:
            for _ in range(2):
                await at.answer(GOOD)
            cause = at.poller.decision.cause
            assert cause is not None
            assert cause.kind == "bad-reply"
            assert f"default_reserve_bytes is {wrong!r}: must be" in cause.message
            assert at.latest_list.value is None
            patched.undo()
            await at.answer(GOOD)
            await at.listed(DeviceList(IdSet.first(5)))


async def test_a_time_out_raised_by_a_backend_is_a_bug_and_no_deadline_of_ours() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        for _ in range(2):
            await at.answer(TimeoutError("its own"))
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        assert "bug" in (published_list.fault or "")


async def test_a_reading_that_is_no_whole_number_is_a_bug() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        for _ in range(2):
            await at.answer(TeeMemory(total_bytes=1.5 * UNIT, free_bytes=0))  # type: ignore[arg-type]  # the point
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        assert "must be whole numbers of bytes" in (published_list.fault or "")
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))


@pytest.mark.parametrize("wrong", [None, 5])
async def test_an_answer_that_is_no_reading_is_a_bug(wrong: Any) -> None:
    async with watched() as at:
        await at.answer(GOOD)
        for _ in range(2):
            await at.answer(wrong)
        assert "no TeeMemory" in ((await at.listed(DeviceList(ALL, unhealthy=ALL))).fault or "")


async def test_a_cancellation_out_of_a_backend_is_a_bug_and_does_not_end_the_task() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        for _ in range(2):
            await at.answer(asyncio.CancelledError())  # type: ignore[arg-type]  # the point
        await at.listed(DeviceList(ALL, unhealthy=ALL))
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))


async def test_a_capacity_that_does_not_fit_later_is_told_once_and_not_for_each_reading() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            for free in range(3):
                await at.answer(TeeMemory(total_bytes=UNIT - 1, free_bytes=free))
    assert events(logs).count("settings_do_not_fit") == 1


async def test_being_asked_once_makes_one_query_more_and_not_many() -> None:
    async with watched() as at:
        await at.answer(GOOD)
        asked = at.tee.asked
        at.tee.answers.put_nowait(GOOD)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        assert at.tee.asked == asked


async def test_a_device_node_that_goes_missing_is_named_and_its_return_heals(
    tmp_path: Path,
) -> None:
    node = tmp_path / "dev" / "teelog"
    node.parent.mkdir()
    node.touch()
    async with watched(tmp_path, device="/dev/teelog") as at:
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))
        node.unlink()
        await at.answer(GOOD)
        published_list = await at.listed(DeviceList(ALL, unhealthy=ALL))
        # Told by health alone: an error of Allocate would make pod after pod fail.
        assert published_list.fault is None
        assert at.poller.decision.cause is not None
        assert at.poller.decision.cause.fix == "load the driver teelog, or check --host-root"
        node.touch()
        await at.answer(GOOD)
        await at.listed(DeviceList(ALL))


async def test_nothing_is_listed_until_the_tee_has_answered_once() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(Unreachable("still booting"))
            await at.answer(Unreachable("still booting"))
            assert at.latest_list.value is None
            await at.answer(GOOD)
            await at.listed(DeviceList(ALL))
    assert events(logs) == ["tee_unhealthy", "tee_recovered", "capacity"]


async def test_exhaustion_is_told_and_changes_no_health() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            await at.answer(Exhausted("no memory"))
            await at.answer(GOOD)
            await at.listed(DeviceList(ALL))
    assert events(logs) == ["capacity", "tee_fault_suspected", "tee_suspected_fault_over"]


async def test_a_capacity_that_moves_is_listed_and_logged() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(GOOD)
            await at.answer(TeeMemory(total_bytes=5 * UNIT, free_bytes=0))
            await at.listed(DeviceList(IdSet.first(5)))
    assert events(logs) == ["capacity", "capacity_changed"]


async def test_the_tee_is_asked_again_by_itself_after_the_interval() -> None:
    async with watched(interval_seconds=0.01) as at:
        for _ in range(5):
            at.tee.answers.put_nowait(GOOD)
        with anyio.fail_after(10):
            while at.tee.asked < 5:
                await anyio.lowlevel.checkpoint()


async def test_the_backends_own_reserve_is_asked_for_once_there_is_a_reading() -> None:
    with capture_logs() as logs:
        async with watched(reserve_bytes=None) as at:
            await at.answer(Unreachable("still booting"))
            await at.answer(GOOD)
            await at.listed(DeviceList(IdSet.first(5)))
    assert logs[-1]["reserve_bytes"] == 3 * UNIT


async def test_the_operators_reserve_counts_instead_of_the_backends_own() -> None:
    async with watched(reserve_bytes=UNIT) as at:
        await at.answer(GOOD)
        await at.listed(DeviceList(IdSet.first(7)))


async def test_terms_that_do_not_fit_the_first_reading_end_the_start() -> None:
    with pytest.RaisesGroup(ConfigError, flatten_subgroups=True):
        async with watched() as at:
            at.tee.answers.put_nowait(TeeMemory(total_bytes=UNIT - 1, free_bytes=0))
            await anyio.sleep_forever()


async def test_many_units_are_warned_about_with_the_precision_that_gives_fewer() -> None:
    with capture_logs() as logs:
        async with watched() as at:
            await at.answer(TeeMemory(total_bytes=5000 * UNIT, free_bytes=0))
            await at.listed(DeviceList(IdSet.first(5000)))
    assert events(logs) == ["capacity", "many_units"]
    assert "-precision 2048" in logs[-1]["fix"]
