"""A backend of another package that says it is simulated gets the warnings that ours gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin_process import Plugin

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

MODULE = """
from teeplugin_backends.base import ContainerAccess, TeeBackend, TeeMemory


class Toy(TeeBackend):
    simulated = {simulated}

    @classmethod
    def from_options(cls, options):
        return cls()

    async def memory(self):
        return TeeMemory(1 << 30, 1 << 30)

    def access(self):
        return ContainerAccess()
"""


class ToyPlugin(Plugin):
    """The plugin with `--backend toy`, which is installed in `directory`."""

    def __init__(self, directory: Path, kubelet_dir: Path, *, simulated: bool) -> None:
        super().__init__(directory, kubelet_dir=kubelet_dir, host_root=directory)
        self.flags = [
            *("--backend", "toy", "--kubelet-dir", str(kubelet_dir)),
            *("--host-root", str(directory), "--listen", "off"),
        ]
        self.command = [sys.executable, "-m", "teeplugin", "--log-format", "json", *self.flags]
        self.environment["PYTHONPATH"] = str(directory)
        (directory / "toy.py").write_text(MODULE.format(simulated=simulated))
        package = directory / "toy-1.0.dist-info"
        package.mkdir()
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text("[teeplugin.backends]\ntoy = toy:Toy\n")

    def doctor(self) -> str:
        """What doctor says with the same flags."""
        command = [sys.executable, "-m", "teeplugin", "doctor", *self.flags]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        ).stdout


async def test_one_that_is_simulated_is_warned_of(kubelet_dir: Path, tmp_path: Path) -> None:
    with ToyPlugin(tmp_path, kubelet_dir, simulated=True) as plugin:
        warning = await plugin.logged("simulated_tee")
        assert warning["level"] == "warning"
        assert plugin.stop() == 0
    assert "toy: its units have no memory behind them" in plugin.doctor()


async def test_one_that_is_not_is_not_warned_of(kubelet_dir: Path, tmp_path: Path) -> None:
    with ToyPlugin(tmp_path, kubelet_dir, simulated=False) as plugin:
        # Logged once the start has been announced, and so after a warning would have been.
        await plugin.logged("starting")
        assert plugin.stop() == 0
    assert plugin.count("simulated_tee") == 0
    assert "stand for no memory" not in plugin.doctor()
