"""Runs a check in an event loop of its own, and queries in it as the plugin asks them.

A backend that blocks the loop would hang its own test: a thread beside the loop listens for its
beats, and where they stop, interrupts what the loop is at.
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Self

import anyio

from teeplugin_backends.base import TeeBackend
from teeplugin_backends.conformance.lines import is_of_a_library, line_of
from teeplugin_backends.conformance.rules import ContractViolationError

BLOCKED_SECONDS: Final = 10.0
"""A loop that stands still for so long is blocked: an emulated board takes seconds, where a busy
machine takes tenths of one. The plugin's own watchdog ends it after 15 s."""

_LOOK_SECONDS: Final = 0.1
_BEAT_SECONDS: Final = 0.05
_SIGNAL: Final = signal.SIGURG
"""Ignored where nobody handles it, and used by neither pytest nor its plugins."""


class BlockedError(BaseException):
    """The loop stood still in the line named; gets past every `except Exception` of a backend."""


def run(check: Callable[[], Awaitable[None]]) -> None:
    """Run a check in a fresh event loop, and close that with all that was left running in it.

    Raises:
        BrokenPromiseError: the check's own, or the loop stood still, or would not close.
    """
    failures: list[Exception] = []

    async def body() -> None:
        with _beating(watchdog):
            try:
                await check()
            except Exception as error:
                failures.append(error)
                raise

    with _Watchdog() as watchdog:
        try:
            anyio.run(body)
        except BlockedError as blocked:
            # What a check that failed left running may well keep the loop from closing.
            if failures:
                raise failures[0] from None
            raise ContractViolationError(
                f"the event loop stood still for {BLOCKED_SECONDS:g} s {blocked}: never block it, "
                "and let every task end when it is cancelled; what may hang belongs in a process "
                "that can be killed"
            ) from blocked


class Call:
    """A call of a backend in a task of its own, cancelled in the way the plugin does that."""

    def __init__(self, call: Coroutine[Any, Any, object]) -> None:
        self._scope = anyio.CancelScope()
        self._task = asyncio.create_task(self._make(call))

    @classmethod
    def of_memory(cls, backend: TeeBackend) -> Self:
        """Ask the TEE."""
        return cls(backend.memory())

    async def _make(self, call: Coroutine[Any, Any, object]) -> object:
        with self._scope:
            return await call
        return None

    def cancel(self) -> None:
        """Cancel it; that it ends is another matter."""
        self._scope.cancel()

    async def ends(self, within_seconds: float) -> bool:
        """Wait for its end, whatever that is; whether it came in time.

        Raises:
            BlockedError: it has blocked the loop.
        """
        await asyncio.wait({self._task}, timeout=within_seconds)
        if isinstance(self.outcome, BlockedError):
            raise self.outcome
        return self._task.done()

    async def ends_before(self, other: Awaitable[None]) -> bool:
        """Wait for its end or for something else, which is abandoned then; whether it ended."""
        waiting = asyncio.ensure_future(other)
        await asyncio.wait({self._task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
        waiting.cancel()
        return await self.ends(0)

    @property
    def was_cancelled(self) -> bool:
        """Whether it ended by its cancellation, and neither with an answer nor with an error."""
        return self._scope.cancelled_caught

    @property
    def outcome(self) -> object:
        """What it answered, or the exception that it raised; None before its end."""
        if not self._task.done():
            return None
        if self._task.cancelled():
            return asyncio.CancelledError()
        return self._task.exception() or self._task.result()


class _Watchdog:
    """Interrupts the main thread when it has heard nothing of the loop for BLOCKED_SECONDS.

    Signals are handled in the main thread only: a loop in another one may block for ever.
    """

    def __init__(self) -> None:
        self._heard = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watchdog")
        self._main_id = threading.get_ident()
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._is_main:
            self._before = signal.signal(_SIGNAL, _interrupt)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_main:
            self._ended.set()
            self._thread.join()
            signal.signal(_SIGNAL, self._before)

    def hear(self) -> None:
        """Know that the loop goes on."""
        self._heard.set()

    def _watch(self) -> None:
        # Looks are counted and not seconds: while the whole process stands still, nobody looks.
        looks_in_vain = 0
        while not self._ended.wait(_LOOK_SECONDS):
            looks_in_vain = 0 if self._heard.is_set() else looks_in_vain + 1
            self._heard.clear()
            if looks_in_vain * _LOOK_SECONDS >= BLOCKED_SECONDS:
                looks_in_vain = 0
                signal.pthread_kill(self._main_id, _SIGNAL)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Interrupt what holds the loop, unless that is the kit, which is slow on a slow machine."""
    if not is_own_work(frame):
        raise BlockedError(f"at {line_of(frame)}")


def is_own_work(frame: FrameType | None) -> bool:
    """Whether the kit is at work, and no backend that it has called.

    The innermost frame decides that is neither in the standard library nor in anyio. Where that is
    `run`, the kit only waits: for a loop that is closing, and that a task keeps from it.
    """
    package = __name__.rpartition(".")[0]
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith(package):
            return frame.f_code is not run.__code__
        if not is_of_a_library(frame):
            return False
        frame = frame.f_back
    return False


@contextmanager
def _beating(watchdog: _Watchdog) -> Iterator[None]:
    """Let the running loop be heard. What comes after, its closing, has BLOCKED_SECONDS."""
    loop = asyncio.get_running_loop()
    beats = True

    def beat() -> None:
        if beats:
            watchdog.hear()
            loop.call_later(_BEAT_SECONDS, beat)

    beat()
    try:
        yield
    finally:
        beats = False
