"""The example backend as its author would ship it: built, installed beside the plugin, and run."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.plugin_process import Plugin

SOURCE: Final = Path(__file__).parent / "example_backend"
TOTAL_BYTES: Final = 1 << 30
RESERVE_BYTES: Final = 16 << 20
"""The backend's own."""

UNITS: Final = (TOTAL_BYTES - RESERVE_BYTES) // (512 * 1024)
WELL: Final = f"echo total {TOTAL_BYTES}; echo free {TOTAL_BYTES - RESERVE_BYTES}"

_SECONDS = 120


@dataclass(frozen=True)
class Installed:
    """An environment with the plugin that is under test and the example's wheel."""

    python: Path
    source: Path
    """A copy of the example, away from this project's settings."""

    @classmethod
    def into(cls, directory: Path) -> "Installed":
        """Build the wheel and install it; what has to be there for it is, so no index is asked."""
        source = directory / "source"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        offline = ("--no-index", "--no-deps", "--quiet", "--disable-pip-version-check")
        wheels = directory / "wheels"
        _run("pip", "wheel", *offline, "--no-build-isolation", f"--wheel-dir={wheels}", str(source))
        (wheel,) = wheels.glob("*.whl")
        environment = directory / "environment"
        _run("venv", "--without-pip", str(environment))
        (site,) = environment.glob("lib/python*/site-packages")
        # The plugin and what it needs come from the environment that runs the tests.
        ours = sysconfig.get_path("purelib")
        (site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        python = environment / "bin" / "python"
        _run("pip", f"--python={python}", "install", *offline, str(wheel))
        return cls(python, source)


def _run(*arguments: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{arguments}:\n{ran.stdout}{ran.stderr}"


class ExamplePlugin(Plugin):
    """The plugin as a process with `--backend acme`; its program is a script of the test's."""

    def __init__(
        self,
        directory: Path,
        example: Installed,
        *,
        kubelet_dir: Path,
        host_root: Path,
        device: str,
        enter: Sequence[str] = (),
    ) -> None:
        self.log, self.program = directory / "plugin.log", directory / "acme-tee"
        self.run_as_program(WELL)
        self.command = [
            *(*enter, str(example.python), "-m", "teeplugin", "--backend", "acme"),
            *("--backend-option", f"command={self.program}"),
            *("--backend-option", f"device={device}"),
            *("--kubelet-dir", str(kubelet_dir), "--host-root", str(host_root)),
            *("--listen", "off", "--log-format", "json", "--health-interval", "0.1"),
        ]
        self._process = None

    def run_as_program(self, script: str) -> None:
        """Have the vendor's program be this script from the next query on."""
        fresh = self.program.with_suffix(".new")
        fresh.write_text(f"#!/bin/sh\n{script}\n")
        fresh.chmod(0o755)
        fresh.rename(self.program)
