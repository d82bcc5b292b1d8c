"""Calls into a backend, from which nothing but a reading or a TeeError comes back in time.

A backend is somebody else's code: it may raise anything, cancel itself, or never return.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from teeplugin.logs.setup import error_text, get_logger
from teeplugin_backends.base import (
    BadReply,
    TeeBackend,
    TeeError,
    TeeMemory,
    TimedOut,
)

_log = get_logger()
T = TypeVar("T")


async def guarded(what: str, call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Await a call of the backend, which `what` names, for at most so many seconds.

    Raises:
        TeeError: as the backend raised it; TimedOut at the deadline; BadReply for whatever else
            the backend raised, which is a bug of its own.
    """
    try:
        with anyio.move_on_after(seconds) as deadline:
            return await call()
    except TeeError:
        raise
    except asyncio.CancelledError as error:
        # The plugin's own cancellation goes on its way; a backend's of itself is a bug.
        task = asyncio.current_task()
        if deadline.cancel_called or (task is not None and task.cancelling()):
            raise
        raise _bug(what, error) from error
    except Exception as error:
        raise _bug(what, error) from error
    raise TimedOut(f"{what} did not return within {seconds:g} s")


async def read_memory(backend: TeeBackend, seconds: float) -> TeeMemory:
    """Ask the backend for a reading.

    Raises:
        TeeError: as by `guarded`; an answer of another type is a bug as well.
    """

    async def memory() -> TeeMemory:
        answered: object = await backend.memory()
        if not isinstance(answered, TeeMemory):
            raise TypeError(f"{answered!r} is no TeeMemory")
        return answered

    return await guarded("memory()", memory, seconds)


def _bug(what: str, error: BaseException) -> TeeError:
    problem = f"{what} raised {error_text(error)}"
    _log.debug("backend_bug", error=problem, exc_info=error)
    return BadReply(f"a bug in the backend: {problem}", fix="report it to its author")
