"""Waits for the first of several things."""

import math
from collections.abc import Awaitable, Callable

import anyio


async def first_of(seconds: float | None, *waits: Callable[[], Awaitable[object]]) -> bool:
    """Return when the first of the waits does, or after `seconds`; False if none did.

    None means no limit.
    """
    done = False
    with anyio.move_on_after(math.inf if seconds is None else seconds):
        async with anyio.create_task_group() as tasks:

            async def wait(awaited: Callable[[], Awaitable[object]]) -> None:
                nonlocal done
                await awaited()
                done = True
                tasks.cancel_scope.cancel()

            for awaited in waits:
                tasks.start_soon(wait, awaited)
    return done
