"""Says what the process waits for, and ends it: the last lines of a plugin that hangs."""

import asyncio
import gc
import os
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import AsyncGeneratorType, CoroutineType, FrameType

import anyio

_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_ANYIO = str(Path(anyio.__file__).parent)
"""Everything waits in it: a line of it says nothing."""

_OWN_FOLDER = str(Path(__file__).parent)

_WAITS_FOR_TASKS = "TaskGroup.__aexit__"


def where_blocked(frame: FrameType | None) -> str:
    """Name the innermost line outside the standard library, which is what can be mended."""
    own = _innermost(_frames_out_of(frame)) or frame
    return _line(own) if own else "unknown"


def outstanding(loop: asyncio.AbstractEventLoop, loops_thread: int) -> list[str]:
    """Name what hasn't ended: the loop's own line if it is blocked, else tasks; other threads.

    Called in a thread of its own, while all others run.
    """
    frames = sys._current_frames()  # noqa: SLF001 - documented, for this
    loops_frame = frames.pop(loops_thread, None)
    frames.pop(threading.get_ident(), None)
    found: list[str] = []
    if loop.is_running() and _is_blocked(loops_frame):
        found.append(f"the event loop at {where_blocked(loops_frame)}")
    elif loop.is_running():
        found += _tasks(loop)
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in frames.items():
        if not _is_idle(frame):
            found.append(f"thread {names.get(ident, ident)} at {where_blocked(frame)}")
    return list(dict.fromkeys(found))


def end_process(status: int, log: Callable[[], object], log_seconds: float) -> None:
    """Log, and end the process in so many seconds even if what reads the log is stuck."""
    writer = threading.Thread(target=log, daemon=True)
    writer.start()
    writer.join(log_seconds)
    os._exit(status)


def _tasks(loop: asyncio.AbstractEventLoop) -> Iterator[str]:
    for task in asyncio.all_tasks(loop):
        frames = list(_frames_into(task.get_coro()))
        # One that waits for tasks of its own ends with them.
        if any(frame.f_code.co_qualname == _WAITS_FOR_TASKS for frame in frames[-2:]):
            continue
        if (own := _innermost(reversed(frames))) is not None:
            yield f"task {task.get_name()} at {_line(own)}"


def _frames_into(awaited: object) -> Iterator[FrameType]:
    """The frames of a task that waits, from its first to the one that waits."""
    while awaited is not None:
        frame: FrameType | None = None
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, AsyncGeneratorType):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        else:
            # A step of an asynchronous generator doesn't name it in another way.
            inner = gc.get_referents(awaited)
            awaited = next((each for each in inner if isinstance(each, AsyncGeneratorType)), None)
        if frame is not None:
            yield frame


def _frames_out_of(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _innermost(frames: Iterable[FrameType]) -> FrameType | None:
    return next((frame for frame in frames if _is_worth_naming(frame.f_code.co_filename)), None)


def _is_worth_naming(file: str) -> bool:
    if file.startswith(("<frozen", _ANYIO)):
        return False
    return not file.startswith(_STANDARD_LIBRARY) or "site-packages" in file


def _is_blocked(frame: FrameType | None) -> bool:
    """Whether the loop's thread runs other code than the loop's own, which our `run` called."""
    own = _innermost(_frames_out_of(frame))
    return own is not None and not own.f_code.co_filename.startswith(_OWN_FOLDER)


def _is_idle(frame: FrameType) -> bool:
    """Whether a thread is the watchdog, or one of a pool that waits for work."""
    own = _innermost(_frames_out_of(frame))
    if own is not None:
        return own.f_code.co_filename.startswith(_OWN_FOLDER)
    is_of_a_pool = frame.f_code.co_name == "_worker"
    return is_of_a_pool or Path(frame.f_code.co_filename).name in ("queue.py", "threading.py")


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
