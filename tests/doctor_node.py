"""A node with a kubelet and a plugin, and doctor beside them: what its process tests share."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from teeplugin.commands.doctor.model import Report
from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated
from tests.doctoring import examined
from tests.http import telemetry_of
from tests.plugin_process import Plugin, plain_environment

UNITS = 128


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@dataclass
class Node:
    """A kubelet, a plugin and its TEE; `flags` are the plugin's, for doctor as well."""

    kubelet: Simulated
    plugin: Plugin
    listen: str

    @property
    def flags(self) -> list[str]:
        words = self.plugin.command
        return words[words.index("teeplugin") + 1 :]

    async def examined(self, *more: object) -> Report:
        return await examined(*self.flags, *more)

    async def starts(self) -> None:
        self.plugin.start()
        await self.kubelet.has(UNITS)
        await telemetry_of(self.plugin)

    @property
    def directory(self) -> Path:
        return self.kubelet.device_plugins_dir


@pytest.fixture(name="stopped")
async def made_stopped(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose plugin isn't started yet."""
    async with SimulatedKubelet(kubelet_dir) as simulated:
        kubelet, listen = Simulated(simulated, tmp_path / "node"), free_address()
        plugin = Plugin(
            tmp_path, kubelet_dir=kubelet_dir, host_root=kubelet.host_root, listen=listen
        )
        try:
            yield Node(kubelet, plugin, listen)
        finally:
            if plugin.running:
                plugin.kill()


@pytest.fixture(name="node")
async def made_node(stopped: Node) -> Node:
    """A node on which all is well."""
    await stopped.starts()
    return stopped


async def doctor(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run it as an operator does."""
    command = [sys.executable, "-m", "teeplugin", "doctor", *words]
    result = await anyio.run_process(command, check=False, env=plain_environment() | environ)
    return subprocess.CompletedProcess(
        command, result.returncode, result.stdout.decode(), result.stderr.decode()
    )
