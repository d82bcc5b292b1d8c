"""What the tests here share: the deploy folder, and running its scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PLAIN = DEPLOY / "tee-device-plugin.yml"


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def document(path: Path, kind: str) -> dict[str, Any]:
    (found,) = [one for one in documents(path) if one["kind"] == kind]
    return found


def run(
    *command: str | Path, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # Neither a make that runs the tests nor their own Python settings reach what is tested.
    environment = {
        name: value
        for name, value in os.environ.items()
        if "MAKE" not in name and not name.startswith("PYTHON")
    }
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def tree(root: Path) -> set[str]:
    """All files below a folder, by their paths in it."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def checkout(target: Path, *, built: Mapping[str, bytes]) -> Path:
    """Make what `make install` and `make image` need of a checkout, with these files in pkg/."""
    shutil.copy(ROOT / "Makefile", target)
    shutil.copytree(DEPLOY, target / "deploy", symlinks=True)
    (target / "pkg").mkdir()
    for name, content in built.items():
        (target / "pkg" / name).write_bytes(content)
    return target


def elf(machine: str) -> bytes:
    """The head of a 64-bit ELF file, with the machine's number."""
    number = {"x86_64": 0x3E, "aarch64": 0xB7, "riscv64": 0xF3}[machine]
    return b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + number.to_bytes(2, "little")
