"""Asks the backend once, as the daemon does, and survives whatever that comes to."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import anyio

from teeplugin.commands.doctor.evidence import Answer
from teeplugin.tee.guard import (
    guarded,
    read_access,
    read_default_reserve,
    read_limited_containers,
    read_memory,
)
from teeplugin_backends.base import (
    CLOSE_SECONDS,
    LOOK_SECONDS,
    QUERY_SECONDS,
    Finding,
    TeeBackend,
    TeeError,
)

T = TypeVar("T")


async def ask(backend: TeeBackend, host_root: Path) -> Answer:
    """Enter the backend, ask it once for its memory and then for its checks, and leave it."""
    bugs: list[str] = []
    try:
        await guarded("__aenter__()", backend.__aenter__, LOOK_SECONDS)
        return await _asked(backend, host_root, bugs)
    except TeeError as error:
        return Answer(error=error, bugs=bugs)
    finally:

        async def leave() -> None:
            await backend.__aexit__(None, None, None)

        with anyio.CancelScope(shield=True):
            await _noted(bugs, "__aexit__()", leave, CLOSE_SECONDS)


async def _asked(backend: TeeBackend, host_root: Path, bugs: list[str]) -> Answer:
    async def needs() -> tuple[int, tuple[str, ...], int]:
        reserve_bytes, paths = read_default_reserve(backend), read_access(backend).host_paths()
        return reserve_bytes, paths, read_limited_containers(backend)

    async def look() -> list[Finding]:
        found: list[object] = list(await backend.checks(host_root))
        bugs.extend(f"{each!r} of checks() is no Finding" for each in found if not _is_one(each))
        return [each for each in found if isinstance(each, Finding)]

    reading, error, needed = None, None, None
    began = monotonic()
    try:
        reading = await read_memory(backend, QUERY_SECONDS)
    except TeeError as raised:
        error = raised
    seconds = monotonic() - began
    if reading is not None:
        # Before a reading a backend need not know.
        needed = await _noted(bugs, "access() or default_reserve_bytes", needs, LOOK_SECONDS)
    findings = await _noted(bugs, "checks()", look, LOOK_SECONDS)
    return Answer(
        reading=reading,
        error=error,
        seconds=seconds,
        reserve_bytes=needed[0] if needed else None,
        host_paths=needed[1] if needed else None,
        limited_containers=needed[2] if needed else 0,
        findings=findings or (),
        bugs=bugs,
    )


def _is_one(finding: object) -> bool:
    return isinstance(finding, Finding)


async def _noted(
    bugs: list[str], what: str, call: Callable[[], Awaitable[T]], seconds: float
) -> T | None:
    """Like `guarded`, for what matters less than the reading: an error is one of the `bugs`."""
    try:
        return await guarded(what, call, seconds)
    except TeeError as error:
        bugs.append(str(error))
        return None
