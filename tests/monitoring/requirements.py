"""Finds promtool, or takes it out of Debian's package of Prometheus without installing that.

Installed, the package would start a Prometheus on the machine. Used by the tests' fixtures.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests import system_packages
from tests.cluster.settings import cache_directory

UnavailableError = system_packages.UnavailableError

_PACKAGE = "prometheus"
_DOWNLOAD_SECONDS = 300


def promtool() -> Path:
    """Find promtool on PATH or in the cache of built programs, or download it.

    Raises:
        UnavailableError: it can't be had here; one line that says why.
    """
    found = shutil.which("promtool")
    if found:
        return Path(found)
    unpacked = cache_directory() / "prometheus"
    program = unpacked / "usr/bin/promtool"
    if not program.exists():
        _unpack_package(unpacked)
    if not program.exists():
        raise UnavailableError(f"{_PACKAGE}: unpacked, but there is no {program}")
    return program


def _unpack_package(target: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise UnavailableError("promtool is missing, and there is no apt-get to download it")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        error = _download(Path(scratch))
        if error and os.geteuid() == 0:
            # The package lists may be missing, or older than the archive.
            system_packages.apt_get(["update"])
            error = _download(Path(scratch))
        if error:
            raise UnavailableError(f"promtool is missing: apt-get can't download it. {error}")
        (package,) = Path(scratch).glob("*.deb")
        fresh = Path(scratch) / "unpacked"
        subprocess.run(["dpkg-deb", "--extract", package, fresh], check=True)
        # In place by one rename, with all that is in it; another run may have been faster.
        if not target.exists():
            fresh.rename(target)


def _download(directory: Path) -> str | None:
    """Download the package; the error's line, if any."""
    result = subprocess.run(
        ["apt-get", "-q", "download", _PACKAGE],
        cwd=directory,
        env=os.environ | {"LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_DOWNLOAD_SECONDS,
        check=False,
    )
    if result.returncode == 0:
        return None
    errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
    return errors[0] if errors else f"apt-get ended with {result.returncode}"
