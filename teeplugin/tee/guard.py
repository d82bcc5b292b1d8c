"""Calls into a backend, from which nothing but a reading or a TeeError comes back in time.

A backend is somebody else's code: it may raise anything, cancel itself, or never return.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import anyio
import anyio.lowlevel

from teeplugin.logs.setup import error_text, get_logger
from teeplugin_backends.base import (
    CLOSE_SECONDS,
    LOOK_SECONDS,
    QUERY_SECONDS,
    BadReply,
    ContainerAccess,
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
    # If the plugin was cancelled before the call, this raises: it must not count as the backend's.
    await anyio.lowlevel.checkpoint()
    task = asyncio.current_task()
    cancelling = task.cancelling() if task else 0
    try:
        with anyio.move_on_after(seconds) as deadline:
            return await call()
    except (TeeError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        # Compared with before, as some libraries end their own waits by cancelling the task, and
        # leave that counted.
        ours = deadline.cancel_called or (task and task.cancelling() > cancelling)
        if isinstance(error, asyncio.CancelledError) and ours:
            raise
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
        figures: tuple[object, ...] = (answered.total_bytes, answered.free_bytes)
        if not all(isinstance(figure, int) for figure in figures):
            raise TypeError(f"{answered!r}: must be whole numbers of bytes")
        # Made anew, so that its figures are checked even if they were changed since it was made.
        return TeeMemory(answered.total_bytes, answered.free_bytes)

    return await guarded("memory()", memory, seconds)


def read_default_reserve(backend: TeeBackend) -> int:
    """Read the backend's own reserve in bytes, from within a guarded call.

    Raises:
        ValueError: it is no number of bytes, which is a bug of the backend's.
    """
    reserve_bytes: object = backend.default_reserve_bytes
    if not isinstance(reserve_bytes, int) or reserve_bytes < 0:
        raise ValueError(
            f"default_reserve_bytes is {reserve_bytes!r}: must be a whole number, 0 or more"
        )
    return reserve_bytes


def read_limited_containers(backend: TeeBackend) -> int:
    """Read how many containers the TEE can limit, from within a guarded call.

    Raises:
        ValueError: it is no number, which is a bug of the backend's.
    """
    count: object = backend.limited_containers
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"limited_containers is {count!r}: must be a whole number, 0 or more")
    return count


class Needs(NamedTuple):
    """What a backend need not know before it has given a reading."""

    default_reserve_bytes: int
    access: ContainerAccess
    host_paths: tuple[str, ...]
    limited_containers: int


async def read_needs(backend: TeeBackend) -> Needs:
    """Ask the backend for all of it, after a reading.

    Raises:
        TeeError: as by `guarded`.
    """

    async def needs() -> Needs:
        reserve_bytes, access = read_default_reserve(backend), read_access(backend)
        limited_containers = read_limited_containers(backend)
        return Needs(reserve_bytes, access, access.host_paths(), limited_containers)

    what = "access(), default_reserve_bytes or limited_containers"
    return await guarded(what, needs, LOOK_SECONDS)


async def leave(backend: TeeBackend) -> None:
    """Leave a backend that was entered, also while the caller is cancelled.

    Raises:
        TeeError: as by `guarded`.
    """

    async def exit_() -> None:
        await backend.__aexit__(None, None, None)

    with anyio.CancelScope(shield=True):
        await guarded("__aexit__()", exit_, CLOSE_SECONDS)


async def ask_once(backend: TeeBackend) -> tuple[TeeMemory, Needs]:
    """Enter the backend, ask it for a reading and for what depends on one, and leave it.

    Raises:
        TeeError: as by `guarded`.
    """
    await guarded("__aenter__()", backend.__aenter__, LOOK_SECONDS)
    try:
        return await read_memory(backend, QUERY_SECONDS), await read_needs(backend)
    finally:
        await leave(backend)


def read_access(backend: TeeBackend) -> ContainerAccess:
    """Read what containers need; never blocks, as `access()` must not.

    Raises:
        BadReply: it raised something, or what it gave can't be handed to a container.
    """
    try:
        return _checked(backend.access())
    except BaseException as error:
        raise _bug("access()", error) from error


def read_flavour(backend: TeeBackend) -> str:
    """Read the TEE's flavour; empty before the first reading, and where it is no text."""
    try:
        flavour: object = backend.flavour
    except Exception as error:  # noqa: BLE001 - as for every call of a backend
        _log.debug("backend_bug", error=error_text(error), exc_info=error)
        return ""
    return flavour if isinstance(flavour, str) else ""


def _checked(access: object) -> ContainerAccess:
    if not isinstance(access, ContainerAccess):
        raise TypeError(f"{access!r} is no ContainerAccess")
    environment = access.environment
    texts: list[object] = [access.missing_fix, *environment.keys(), *environment.values()]
    for mount in access.mounts:
        texts += [mount.container_path, mount.host_path]
    for device in access.devices:
        texts += [device.container_path, device.host_path, device.permissions]
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} in {access!r} is no text")
    return access


def _bug(what: str, error: BaseException) -> TeeError:
    problem = f"{what} raised {error_text(error)}"
    _log.debug("backend_bug", error=problem, exc_info=error)
    return BadReply(f"a bug in the backend: {problem}", fix="report it to its author")
