"""The signal: what was set is never missed, by one task or by many."""

import anyio
import anyio.lowlevel
import pytest

from teeplugin.primitives.signal import Signal

pytestmark = pytest.mark.anyio


async def settled() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_what_was_set_before_the_wait_is_seen() -> None:
    signal = Signal()
    seen = signal.count
    signal.set()
    with anyio.fail_after(1):
        assert await signal.after(seen) == seen + 1


async def test_a_wait_lasts_until_it_is_set() -> None:
    signal = Signal()
    seen: list[int] = []

    async def wait() -> None:
        seen.append(await signal.after(signal.count))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settled()
        assert seen == []
        signal.set()
    assert seen == [1]


async def test_several_tasks_wake_each_time_and_none_takes_it_from_another() -> None:
    signal = Signal()
    seen: dict[int, list[int]] = {task: [] for task in range(3)}

    async def follow(task: int) -> None:
        count = signal.count
        while count < 3:
            count = await signal.after(count)
            seen[task].append(count)

    async with anyio.create_task_group() as tasks:
        for task in seen:
            tasks.start_soon(follow, task)
        for _ in range(3):
            await settled()
            signal.set()
    assert seen == {task: [1, 2, 3] for task in range(3)}


async def test_sets_while_a_task_works_wake_it_once_with_the_newest_count() -> None:
    signal = Signal()
    seen = signal.count
    for _ in range(5):
        signal.set()
    assert await signal.after(seen) == 5
    with anyio.move_on_after(0.01) as waited:
        await signal.after(5)
    assert waited.cancelled_caught


async def test_a_cancelled_wait_disturbs_no_other() -> None:
    signal = Signal()
    seen: list[int] = []
    given_up = anyio.CancelScope()

    async def give_up() -> None:
        with given_up:
            await signal.after(0)
            seen.append(-1)

    async def wait() -> None:
        seen.append(await signal.after(0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        tasks.start_soon(wait)
        await settled()
        given_up.cancel()
        await settled()
        signal.set()
    assert seen == [1]


async def test_it_may_be_set_again_while_those_woken_are_still_to_run() -> None:
    signal = Signal()
    seen: list[int] = []

    async def wait() -> None:
        seen.append(await signal.after(0))

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(wait)
        await settled()
        signal.set()
        signal.set()
    assert seen == [2, 2]
