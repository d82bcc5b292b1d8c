"""The real daemon as a child process, and what the kernel tells of it."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Self

from tests.bench.errors import BenchError
from tests.usage import Usage

UNIT_KIB = 512
STOP_SECONDS = 5.0

# The first start writes the bytecode, which installed packages have.
_ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}

UNHEALTHY, HEALTHY = "unreachable", "none"


class Daemon:
    """`python -m teeplugin` with a simulated TEE of `units` units, while it is entered.

    `spawned` is the moment just before the process was made. With `answering` the TEE's state file
    is a FIFO: each query waits until `answer` gives the reply, so that the moment of the TEE's
    answer is known exactly.
    """

    def __init__(
        self, kubelet_dir: Path, units: int, *, interval: float, answering: bool = False
    ) -> None:
        self._state = kubelet_dir / "state"
        self._log = kubelet_dir / "log"
        self._answering = answering
        self._cwd = kubelet_dir
        options = (f"total={units * UNIT_KIB}K", f"state={self._state}")
        self._command = [
            *(sys.executable, "-m", "teeplugin", "--backend", "simulated"),
            *(word for option in options for word in ("--backend-option", option)),
            *("-internal", f"{interval:g}", "--kubelet-dir", str(kubelet_dir)),
            *("--listen", "127.0.0.1:0"),
        ]
        self.spawned = 0.0

    async def __aenter__(self) -> Self:
        self._state.unlink(missing_ok=True)
        if self._answering:
            os.mkfifo(self._state)
        with self._log.open("wb") as log:
            self.spawned = monotonic()
            # Elsewhere than here, so that what is installed is what runs.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - milliseconds, and they are counted
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._cwd,
                env=_ENVIRONMENT,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            deadline = monotonic() + STOP_SECONDS
            while self._process.poll() is None and monotonic() < deadline:
                if self._answering:  # a query that waits for its answer holds up everything
                    with suppress(OSError):
                        self._write_answer(HEALTHY)
                await asyncio.sleep(0.005)
        finally:
            killed = self._process.poll() is None
            if killed:
                self._process.kill()
            self._process.wait()
        if killed:
            raise BenchError(f"the daemon didn't stop within {STOP_SECONDS:g} s of SIGTERM")

    def set_fault(self, fault: str) -> float:
        """Change the state file in one piece; the moment at which it was changed."""
        fresh = self._state.with_suffix(".new")
        fresh.write_text(f"fault={fault}\n")
        changed = monotonic()
        fresh.replace(self._state)
        return changed

    async def answer(self, fault: str) -> float:
        """Answer the query that waits, or the next one; the moment of the answer."""
        while True:
            self.check_alive()
            try:
                return self._write_answer(fault)
            except OSError as error:
                if error.errno != errno.ENXIO:  # no query waits
                    raise
            await asyncio.sleep(0.002)

    def _write_answer(self, fault: str) -> float:
        descriptor = os.open(self._state, os.O_WRONLY | os.O_NONBLOCK)
        try:
            answered = monotonic()
            os.write(descriptor, f"fault={fault}\n".encode())
        finally:
            os.close(descriptor)
        return answered

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise BenchError(
                f"the daemon ended with status {self._process.returncode}: {self.last_words()}"
            )

    def last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def usage(self) -> Usage:
        self.check_alive()
        try:
            return Usage.of(self._process.pid)
        except LookupError as error:
            raise BenchError(str(error)) from None
