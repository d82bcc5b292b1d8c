"""Ends the process when its event loop is blocked: systemd or the kubelet starts it again.

While an Allocate waits for a blocked plugin the kubelet admits no pod at all, and its liveness
probe doesn't act: it can't be left to that.
"""

import asyncio
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from teeplugin.daemon.outstanding import end_process, where_blocked
from teeplugin.logs.setup import get_logger

BLOCKED_SECONDS = 15.0
"""Longer than anything in the loop takes, by far: 226,600 units flip in a tenth of a second."""

LOOK_SECONDS = 5.0
"""Between looks: each wakes the process up."""

EXIT_BLOCKED = 70
"""EX_SOFTWARE of sysexits.h; systemd and the kubelet restart whatever the status."""

_LOG_SECONDS = 1.0
"""For the line to be written: what blocks the loop may be the log's reader."""

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


def _end(loops_thread: int, blocked_seconds: float) -> None:
    where = where_blocked(sys._current_frames().get(loops_thread))  # noqa: SLF001 - documented, for this

    def log() -> None:
        _log.critical(
            "event_loop_blocked",
            where=where,
            seconds=blocked_seconds,
            effect="the process exits; the kubelet or systemd starts it again",
            fix="report it to the author of the code in where",
        )

    end_process(EXIT_BLOCKED, log, _LOG_SECONDS)
