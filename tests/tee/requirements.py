"""What this machine must have for the tests of the C side; missing Debian packages are installed.

Run as a program it installs all of them: `python -m tests.tee.requirements`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.cluster import requirements as cluster

UnavailableError = cluster.UnavailableError

# A tool of the tests, and what it takes: programs and files, each with its Debian package.
TOOLS = {
    "compiler": {"gcc": "gcc", "make": "make", "readelf": "binutils"},
    "cross compiler": {
        "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
        "/usr/aarch64-linux-gnu/include/stdio.h": "libc6-dev-arm64-cross",
    },
    "emulator": {
        "qemu-aarch64": "qemu-user",
        "/usr/aarch64-linux-gnu/lib/libc.so.6": "libc6-arm64-cross",
    },
    "valgrind": {"valgrind": "valgrind"},
}


def missing_packages(tools: Iterable[str] = TOOLS) -> list[str]:
    """List the Debian packages that the tools lack."""
    parts = {part: package for tool in tools for part, package in TOOLS[tool].items()}
    return sorted({package for part, package in parts.items() if not _is_there(part)})


def ensure(tools: Iterable[str] = TOOLS) -> None:
    """Make sure that the tools are there, or say in one line what can't be had."""
    tools = tuple(tools)
    packages = missing_packages(tools)
    if not packages:
        return
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UnavailableError(f"missing, and only root can install it with apt-get: {names}")
    cluster._install(packages)
    still = missing_packages(tools)
    if still:
        raise UnavailableError(f"installed, but still not found: {' '.join(still)}")


def _is_there(part: str) -> bool:
    return Path(part).exists() if part.startswith("/") else shutil.which(part) is not None


if __name__ == "__main__":
    try:
        ensure()
    except UnavailableError as error:
        sys.exit(f"error: {error}")
