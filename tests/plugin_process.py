"""The real plugin as a process of its own, on a simulated TEE that the test plays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from tests.waiting import eventually

UNIT_BYTES = 512 * 1024

_MAIN = """
import teeplugin.cli.main as cli
raise SystemExit(cli.main())
"""


def plain_environment() -> dict[str, str]:
    """What this process has, but for what would be settings of the plugin's."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TEEPLUGIN_")}


class Plugin:
    """One plugin, not yet started; `directory` takes its log and the TEE's state file.

    `enter` turns a command into one that runs where the kubelet is, as the same process.
    """

    def __init__(
        self,
        directory: Path,
        *,
        kubelet_dir: Path,
        host_root: Path,
        enter: Sequence[str] = (),
        flags: Sequence[str] = ("--health-interval", "0.1"),
        units: int = 128,
        name: str = "plugin",
        access: str = "itrustee",
        listen: str = "off",
    ) -> None:
        self.state = directory / f"{name}.tee"
        self.log = directory / f"{name}.log"
        self.play(total=units * UNIT_BYTES)
        self.command = [
            *(*enter, sys.executable, "-m", "teeplugin", "--backend", "simulated"),
            *("--backend-option", f"state={self.state}", "--backend-option", f"access={access}"),
            *("--kubelet-dir", str(kubelet_dir), "--host-root", str(host_root)),
            *("--listen", listen, "--log-format", "json", *flags),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @cached_property
    def environment(self) -> dict[str, str]:
        """What it is started with; a test may add to it."""
        return plain_environment()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def patch(self, script: str) -> None:
        """Have it run a script of Python first, in the same process."""
        module = self.command.index("teeplugin")
        self.command[module - 1 : module + 1] = ["-c", script + _MAIN]

    def play(self, **what: str | int) -> None:
        """Have the TEE be so from the next query on; what isn't named stays as it was."""
        lines = self.state.read_text().splitlines() if self.state.exists() else []
        lines += [f"{key}={value}" for key, value in what.items()]
        fresh = self.state.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n")
        fresh.rename(self.state)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stderr=log, env=self.environment
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(10)

    def stop(self, seconds: float = 10) -> int:
        """Ask it to end, as the kubelet does with a pod; its exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def wait(self, seconds: float = 10) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What it has logged so far, or the entries of one event."""
        # A line that is being written has no end yet.
        whole, _, _ = (self.log.read_text() if self.log.exists() else "").rpartition("\n")
        lines = whole.splitlines()
        entries = [json.loads(line) for line in lines if line.startswith("{")]
        return [entry for entry in entries if name in (None, entry["event"])]

    def count(self, name: str) -> int:
        return len(self.events(name))

    async def logged(
        self, name: str, times: int = 1, deadline_seconds: float = 10
    ) -> dict[str, Any]:
        """Wait until an event has been logged so often, and return the newest."""

        def look() -> list[dict[str, Any]]:
            assert self.running or self.count(name) >= times, self.log.read_text()
            return self.events(name)

        entries = await eventually(
            f"{name} logged {times} times", look, deadline_seconds, until=lambda e: len(e) >= times
        )
        return entries[-1]
