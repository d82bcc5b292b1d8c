"""Asks the backend once, as the daemon does, and survives whatever that comes to."""

from collections.abc import Awaitable
from pathlib import Path
from time import monotonic
from typing import TypeVar

from teeplugin.commands.doctor.evidence import Answer
from teeplugin.tee.guard import guarded, leave, read_memory, read_needs
from teeplugin_backends.base import LOOK_SECONDS, QUERY_SECONDS, Finding, TeeBackend, TeeError

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
        await _noted(bugs, leave(backend))


async def _asked(backend: TeeBackend, host_root: Path, bugs: list[str]) -> Answer:
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
        needed = await _noted(bugs, read_needs(backend))
    findings = await _noted(bugs, guarded("checks()", look, LOOK_SECONDS))
    return Answer(
        reading=reading,
        error=error,
        seconds=seconds,
        reserve_bytes=needed.default_reserve_bytes if needed else None,
        host_paths=needed.host_paths if needed else None,
        missing_fix=needed.access.missing_fix if needed else "",
        limited_containers=needed.limited_containers if needed else 0,
        findings=findings or (),
        bugs=bugs,
    )


def _is_one(finding: object) -> bool:
    return isinstance(finding, Finding)


async def _noted(bugs: list[str], asked: Awaitable[T]) -> T | None:
    """Await what matters less than the reading: an error is one of the `bugs`."""
    try:
        return await asked
    except TeeError as error:
        bugs.append(str(error))
        return None
