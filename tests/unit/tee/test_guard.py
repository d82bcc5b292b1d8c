"""Calls into a backend that does what no backend may do."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from teeplugin.tee.guard import guarded, read_memory
from teeplugin_backends.base import BadReply, Busy, TeeError, TeeMemory, TimedOut
from teeplugin_backends.simulated import SimulatedTee

pytestmark = pytest.mark.anyio


async def failed(call: Any, seconds: float = 5.0) -> TeeError:
    with pytest.raises(TeeError) as caught:
        await guarded("call()", call, seconds)
    return caught.value


async def test_what_it_returns_is_returned() -> None:
    async def call() -> int:
        return 17

    assert await guarded("call()", call, 5.0) == 17


async def test_its_own_faults_pass() -> None:
    async def call() -> None:
        raise Busy("no session")

    assert isinstance(await failed(call), Busy)


@pytest.mark.parametrize(
    "error",
    [
        KeyError("surprise"),
        asyncio.CancelledError("surprise"),
        ExceptionGroup("two", [OSError()]),
        BaseExceptionGroup("two", [SystemExit(3)]),
        SystemExit(3),
    ],
    ids=repr,
)
async def test_whatever_else_it_raises_is_a_bug_of_its_own(error: BaseException) -> None:
    async def call() -> None:
        raise error

    found = await failed(call)
    assert isinstance(found, BadReply)
    assert "a bug in the backend: call() raised " in str(found)
    assert found.fix == "report it to its author"


async def test_what_never_returns_is_given_up_at_the_deadline() -> None:
    found = await failed(anyio.sleep_forever, 0.01)
    assert isinstance(found, TimedOut)
    assert str(found) == "call() did not return within 0.01 s"


async def test_the_plugins_own_cancellation_is_no_bug() -> None:
    with anyio.move_on_after(0.01) as scope:
        await guarded("call()", anyio.sleep_forever, 5.0)
    assert scope.cancelled_caught


async def test_the_plugins_own_cancellation_is_no_bug_where_it_is_pending_at_the_call() -> None:
    async def cancelled() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await guarded("call()", anyio.sleep_forever, 5.0)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(cancelled())


async def test_a_cancellation_that_was_counted_before_hides_no_bug() -> None:
    async def call() -> None:
        raise asyncio.CancelledError("surprise")

    task = asyncio.current_task()
    assert task is not None
    # As libraries leave it that end their own waits by cancelling the task.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await anyio.lowlevel.checkpoint()
    try:
        assert isinstance(await failed(call), BadReply)
    finally:
        task.uncancel()


async def test_a_reading_of_another_type_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    async def memory(_: SimulatedTee) -> int:
        return 17

    monkeypatch.setattr(SimulatedTee, "memory", memory)
    with pytest.raises(BadReply, match="17 is no TeeMemory"):
        await read_memory(SimulatedTee.from_options({}), 5.0)


@pytest.mark.parametrize(("total_bytes", "free_bytes"), [(-1, 0), (0, 0), (8, 9), (8, -1)])
async def test_impossible_figures_are_a_bug_also_where_the_reading_was_changed(
    monkeypatch: pytest.MonkeyPatch, total_bytes: int, free_bytes: int
) -> None:
    async def memory(_: SimulatedTee) -> TeeMemory:
        reading = TeeMemory(8, 8)
        object.__setattr__(reading, "total_bytes", total_bytes)
        object.__setattr__(reading, "free_bytes", free_bytes)
        return reading

    monkeypatch.setattr(SimulatedTee, "memory", memory)
    with pytest.raises(BadReply, match=r"_bytes=-?\d: must be"):
        await read_memory(SimulatedTee.from_options({}), 5.0)
