"""Waiting for a condition with a deadline: what every test does instead of sleeping."""

import inspect
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, TypeVar, overload

import anyio

T = TypeVar("T")

_POLL_SECONDS = 0.01


@overload
async def eventually(
    what: str,
    look: Callable[[], Awaitable[T]],
    deadline_seconds: float = 10,
    *,
    until: Callable[[T], object] = bool,
) -> T: ...


@overload
async def eventually(
    what: str,
    look: Callable[[], T],
    deadline_seconds: float = 10,
    *,
    until: Callable[[T], object] = bool,
) -> T: ...


async def eventually(
    what: str,
    look: Callable[[], Any],
    deadline_seconds: float = 10,
    *,
    until: Callable[[Any], object] = bool,
) -> Any:
    """Look again and again until what is seen satisfies `until`, and return it.

    Raises:
        AssertionError: it didn't in time; says what was expected and what was seen last.
    """
    deadline = monotonic() + deadline_seconds
    while True:
        seen = look()
        if inspect.isawaitable(seen):
            seen = await seen
        if until(seen):
            return seen
        if monotonic() > deadline:
            raise AssertionError(f"{what}: not within {deadline_seconds} s, last seen: {seen!r}")
        await anyio.sleep(_POLL_SECONDS)
