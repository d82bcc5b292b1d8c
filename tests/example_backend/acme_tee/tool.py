"""Runs the vendor's program, and gets rid of it when it hangs; used by backend."""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

from teeplugin_backends.base import CLOSE_SECONDS

_OUTPUT_BYTES = 4096

_END_SECONDS = CLOSE_SECONDS / 2
"""How long `close` waits for a program that was killed: it may hang in the kernel."""


@dataclass(frozen=True)
class Ended:
    """How the program ended, and what it printed."""

    status: int
    output: str


class StuckError(Exception):
    """The program of an earlier query was killed and is still there: no other is started."""


class Tool:
    """The program at `path`; one of it runs at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.counts = {"tool_started": 0, "tool_killed": 0}
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, *arguments: str) -> Ended:
        """Run it to its end; when this is cancelled it is killed, and not waited for.

        Raises:
            StuckError: an earlier one is still there.
            OSError: it can't be started.
        """
        if self._is_there():
            raise StuckError
        with _output_file() as output:
            self._process = await asyncio.create_subprocess_exec(
                self.path,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                # Not a pipe: nobody has to read from a program that hangs, nor close it behind it.
                stdout=output,
                stderr=output,
                # A group of its own, so that what it starts is killed with it.
                start_new_session=True,
            )
            self.counts["tool_started"] += 1
            try:
                status = await self._process.wait()
            finally:
                self._kill()
            text = os.pread(output, _OUTPUT_BYTES, 0).rstrip(b"\0")
            return Ended(status, text.decode("utf-8", "replace"))

    async def close(self) -> None:
        """Kill it, if it runs, and wait for it a moment only."""
        self._kill()
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()

    def _is_there(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def _kill(self) -> None:
        if self._process is not None and self._is_there():
            self.counts["tool_killed"] += 1
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _output_file() -> Iterator[int]:
    """Make a file in memory that can't grow: a program gone wild fills nothing."""
    file = os.memfd_create("acme-tee", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(file, _OUTPUT_BYTES)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        yield file
    finally:
        os.close(file)
