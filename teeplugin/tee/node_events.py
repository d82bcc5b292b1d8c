"""Reads the TEE at once when the backend reports a change on the node, with a rate limit."""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Protocol

import anyio

from teeplugin.logs.setup import error_text, get_logger
from teeplugin.policy.decide import Decision, PolicySettings
from teeplugin.tee.guard import guarded
from teeplugin_backends.base import TeeBackend, TeeError

LEAST_SECONDS = 0.25
"""Between two readings for events: a daemon that ends and starts is a few of them."""

MOST_SECONDS = 4.0
"""Between readings that find nothing new, on a node that changes all the time."""

PATIENCE = 4
"""How many readings in a row may change nothing before they become rarer, each twice as rare."""

QUIET_SECONDS = 30.0
"""After so long without an event, the next is followed at once."""

_log = get_logger()


class Poller(Protocol):
    """What reads the TEE."""

    decision: Decision

    @property
    def policy_settings(self) -> PolicySettings:
        """The settings in force."""

    def query_now(self) -> None:
        """Read it."""


class NodeEvents:
    """Follows what `backend` sees change on the node, below `host_root`, and wakes `poller`."""

    def __init__(self, backend: TeeBackend, host_root: Path, poller: Poller) -> None:
        self._backend, self._host_root, self._poller = backend, host_root, poller
        self._in_vain = 0
        self._asked_at = -math.inf
        self._cause_before: str | None = None

    async def run(self) -> None:
        """Follow until cancelled, or until there is nothing to follow."""
        try:
            await guarded("changes()", self._follow, math.inf)
        except TeeError as bug:
            _not_watched(str(bug), bug.fix)

    async def _follow(self) -> None:
        changes: AsyncGenerator[None, None] = self._backend.changes(self._host_root)
        try:
            async with aclosing(changes):
                async for _ in changes:
                    # With interval 0 the TEE is read at the start and on SIGHUP only.
                    if self._poller.policy_settings.interval_seconds:
                        await self._limit_rate()
                        self._poller.query_now()
        except OSError as error:
            limits = "fs.inotify.max_user_instances and fs.inotify.max_user_watches"
            _not_watched(error_text(error), f"raise {limits} (sysctl)")

    async def _limit_rate(self) -> None:
        since_seconds = monotonic() - self._asked_at
        cause = self._poller.decision.cause
        kind = cause.kind if cause else None
        was_worthwhile = kind != self._cause_before or since_seconds > QUIET_SECONDS
        self._in_vain = 0 if was_worthwhile else self._in_vain + 1
        self._cause_before = kind
        doublings = max(0, self._in_vain - PATIENCE)
        wait_seconds = min(LEAST_SECONDS * 2**doublings, MOST_SECONDS)
        await anyio.sleep(max(0.0, wait_seconds - since_seconds))
        self._asked_at = monotonic()


def _not_watched(error: str, fix: str) -> None:
    _log.warning(
        "node_not_watched",
        error=error,
        effect="faults of the TEE are noticed at the next query, up to a health interval later",
        fix=fix,
    )
