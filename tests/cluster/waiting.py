"""Waiting for a condition, with a deadline and a message that tells what was seen last."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.05
TAIL_LINES = 25


class NotReachedError(AssertionError):
    """A condition did not come true before its deadline."""


def wait_until(
    describe: str,
    observe: Callable[[], T],
    deadline_seconds: float,
    *,
    accept: Callable[[T], bool] = bool,
    explain: Callable[[], str] = lambda: "",
) -> T:
    """Call `observe` until `accept` likes its value, and return that value.

    Without `accept` any true value will do. On time-out the error quotes the last value,
    and what `explain` has to add, such as the end of a log.
    """
    deadline = time.monotonic() + deadline_seconds
    while True:
        seen = observe()
        if accept(seen):
            return seen
        if time.monotonic() >= deadline:
            raise NotReachedError(
                f"{describe}: not within {deadline_seconds:g} s; last seen: {seen!r}\n{explain()}"
            )
        time.sleep(POLL_SECONDS)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Quote the end of a log under its path."""
    try:
        text = log.read_text(errors="replace")
    except OSError as error:
        return f"{log}: {error.strerror}"
    return "\n".join([f"--- {log}, its end:", *text.splitlines()[-lines:]])
