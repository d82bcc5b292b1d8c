"""Answers Ctrl-C soon, even while a backend blocks the event loop or a thread."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator

GRACE_SECONDS = 0.5
"""So long a backend may take to close its session with the TEE in order."""


@contextlib.contextmanager
def interruptible(end: Callable[[], None]) -> Iterator[None]:
    """Call `end` once on SIGINT, which has to end the process.

    asyncio answers SIGINT by cancelling its task, which takes effect only when whatever blocks the
    event loop returns. So a thread watches for the signal, too, and waits no longer than
    GRACE_SECONDS. Only the main thread can enter this.
    """
    is_over, only_once = threading.Event(), threading.Lock()

    def end_once() -> None:
        with only_once:
            if not is_over.is_set():
                is_over.set()
                end()

    def watch() -> None:
        # Python runs its handlers in the main thread, which may be blocked in a library. The bytes
        # come from the interpreter's own handler, which runs at once.
        while signals := os.read(reader, 64):
            if signal.SIGINT in signals and not is_over.wait(GRACE_SECONDS):
                end_once()

    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except KeyboardInterrupt:
        end_once()
        raise
    finally:
        is_over.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join()
        os.close(reader)
