"""The real plugin as a child process: started, watched and surely ended by the stage."""

import asyncio
import ctypes
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from teeplugin.config.settings import ConfigError, shown_path

_LAST_OUTPUT_SECONDS = 1.0

# Looked up here: between fork and exec nothing may be loaded.
_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_PR_SET_PDEATHSIG = 1


class PluginProcess:
    """A plugin in a session of its own, so that a terminal's Ctrl-C reaches only us.

    `on_line` gets each line it writes; `on_exit` is called once it is gone.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        on_line: Callable[[str], None],
        on_exit: Callable[[], None],
    ) -> None:
        self.command = list(command)
        self._environment = dict(environment)
        self._on_line = on_line
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiter: asyncio.Task[int] | None = None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with, negative for a signal; None before."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Run it; what it writes to either stream is kept as lines.

        Raises:
            ConfigError: it is no program that the system can run.
        """
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                # It takes no lock, which a thread of ours might hold when this is forked.
                preexec_fn=partial(_die_with, os.getpid()),
            )
        except OSError as error:
            raise ConfigError(
                f"--plugin {shown_path(self.command[0])}: can't be run ({error.strerror}):"
                " give a program, or the interpreter and its script"
            ) from error
        self._reader = asyncio.create_task(self._read(self._process))
        self._waiter = asyncio.create_task(self._process.wait())
        self._waiter.add_done_callback(lambda _: self._on_exit())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(number)

    async def exited_within(self, seconds: float) -> bool:
        """Wait for its end; what it wrote last has been read then."""
        if self._waiter is None or self._reader is None:
            return True
        done, _ = await asyncio.wait({self._waiter}, timeout=seconds)
        if not done:
            return False
        await asyncio.wait({self._reader}, timeout=_LAST_OUTPUT_SECONDS)
        return True

    async def destroy(self) -> None:
        """Kill it and all that it started, if any of it still runs."""
        if self._process is None or self._reader is None or self._waiter is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._waiter
        self._reader.cancel()
        await asyncio.wait({self._reader})

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                line = b"(a line too long to be shown)\n"
            if not line:
                return
            self._on_line(line.decode(errors="replace").rstrip())


def _die_with(parent: int) -> None:
    """Have the system kill this new process with us, whom a SIGKILL gives no time to."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # gone before it was asked for
        os._exit(1)
