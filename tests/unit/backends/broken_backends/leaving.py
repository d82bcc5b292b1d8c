"""Backends that break what is promised of their end."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Self

import anyio

from teeplugin_backends.base import (
    TeeMemory,
)
from tests.unit.backends.broken_backends.fake import Right, fails, tee


class Waiting(Right):
    """Waits for its query before it closes."""

    def __init__(self) -> None:
        super().__init__()
        self.query_ended = anyio.Event()
        self.query_ended.set()

    async def memory(self) -> TeeMemory:
        self.query_ended = anyio.Event()
        try:
            return await super().memory()
        finally:
            self.query_ended.set()


@fails(leaving_ends_at_once_while_a_query_hangs="__aexit__ takes over 0.5 s")
class LeavesSlowly(Waiting):
    async def __aexit__(self, *_: object) -> None:
        await self.query_ended.wait()


@fails(leaving_ends_at_once_while_a_query_hangs="__aexit__ raised RuntimeError(")
class FailsToLeave(Waiting):
    async def __aexit__(self, *_: object) -> None:
        if not self.query_ended.is_set():
            raise RuntimeError("a query is under way")


@fails(leaving_leaves_nothing_behind="left running by __aexit__: <Task")
class LeavesATask(Right):
    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(anyio.sleep_forever())
        return self


@fails(leaving_leaves_nothing_behind="(left behind)")
class LeavesAThread(Right):
    async def __aenter__(self) -> Self:
        self.thread = threading.Thread(target=_until_well, daemon=True, name="left behind")
        return self

    async def memory(self) -> TeeMemory:
        if not tee.answers.is_set() and not self.thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self.thread.start()
        return await super().memory()


def _until_well() -> None:
    tee.answers.wait()


@fails(leaving_leaves_nothing_behind="left open by __aexit__: descriptor")
class LeavesADescriptor(Right):
    async def __aenter__(self) -> Self:
        self.file = os.open("/dev/null", os.O_RDONLY)
        return self


@fails(leaving_leaves_nothing_behind="left open by __aexit__: process")
class LeavesAProcess(Right):
    async def __aenter__(self) -> Self:
        tee.start("echo; exec sleep 60")
        return self


@fails(
    queries_that_hang_do_not_pile_up="(sleep)",
    leaving_leaves_nothing_behind="(sleep)",
)
class KillsTheShellOnly(Right):
    async def memory(self) -> TeeMemory:
        if tee.answers.is_set():
            return await super().memory()
        shell = tee.start("sleep 60 & echo; wait")
        try:
            return await super().memory()
        finally:
            shell.kill()
            shell.wait()


_FOLLOWED = "changes_end_when_they_are_closed_and_ask_no_tee"


@fails(**{_FOLLOWED: "changes() leaves open: descriptor"})
class LeavesAWatchOpen(Right):
    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        self.left = os.memfd_create(f"watch of {host_root}")
        yield


@fails(**{_FOLLOWED: "changes() raised KeyError("})
class FailsToFollow(Right):
    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        for path in (host_root,):
            raise KeyError(path)
        yield


@fails(**{_FOLLOWED: "changes() went on for over 0.5 s"})
class FollowsForEver(Right):
    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        del host_root
        while not tee.answers.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(1)
        yield
