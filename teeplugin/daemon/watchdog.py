"""Ends the process when its event loop is blocked: systemd or the kubelet starts it again.

While an Allocate waits for a blocked plugin the kubelet admits no pod at all, and its liveness
probe doesn't act: it can't be left to that.
"""

import asyncio
import os
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from teeplugin.logs.setup import get_logger

BLOCKED_SECONDS = 15.0
"""Longer than anything in the loop takes, by far: 226,600 units flip in a tenth of a second."""

LOOK_SECONDS = 5.0
"""Between looks: each wakes the process up."""

EXIT_BLOCKED = 70
"""EX_SOFTWARE of sysexits.h; systemd and the kubelet restart whatever the status."""

_LOG_SECONDS = 1.0
"""For the line to be written: what blocks the loop may be the log's reader."""

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")

_log = get_logger()


@contextmanager
def watchdog(
    signals: tuple[signal.Signals, ...],
    blocked_seconds: float = BLOCKED_SECONDS,
    look_seconds: float = LOOK_SECONDS,
) -> Iterator[None]:
    """Watch the running loop from a thread of its own, which takes none of these signals."""
    loop, loops_thread, ended = asyncio.get_running_loop(), threading.get_ident(), threading.Event()

    def watch() -> None:
        while not ended.wait(look_seconds):
            alive = threading.Event()
            loop.call_soon_threadsafe(alive.set)
            if not alive.wait(blocked_seconds) and not ended.is_set():
                _end(loops_thread, blocked_seconds)

    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        ended.set()
        # The loop stays open until the thread has noticed.
        thread.join()


def where_blocked(frame: FrameType | None) -> str:
    """Name the innermost line outside the standard library, which is what can be mended."""
    own = frame
    while own is not None and not _is_worth_naming(own.f_code.co_filename):
        own = own.f_back
    own = own or frame
    return f"{own.f_code.co_filename}:{own.f_lineno}" if own else "unknown"


def _is_worth_naming(file: str) -> bool:
    if file.startswith("<frozen"):
        return False
    return not file.startswith(_STANDARD_LIBRARY) or "site-packages" in file


def _end(loops_thread: int, blocked_seconds: float) -> None:
    where = where_blocked(sys._current_frames().get(loops_thread))  # noqa: SLF001 - documented, for this

    def log() -> None:
        _log.critical(
            "event_loop_blocked",
            where=where,
            seconds=blocked_seconds,
            effect="the process ends, and is to be started again",
            fix="report it to the author of what is named here",
        )

    writer = threading.Thread(target=log, daemon=True)
    writer.start()
    writer.join(_LOG_SECONDS)
    os._exit(EXIT_BLOCKED)
