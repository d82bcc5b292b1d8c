"""Builds container images as users do, with buildah behind the name `docker`; for deploying.

The base is a Debian that debootstrap makes, kept in the cache directory; nothing is pulled.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.cluster.settings import cache_directory

_DEBIAN = "bookworm"
_INCLUDED = "python3"
_BASE = "lab.local/debian:1"
_BASE_FILE = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
_BUILD_SECONDS = 900

# What `make executable`, `make library` and `make hook` need of a checkout.
_SOURCES = (
    *("Makefile", "noxfile.py", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE"),
    *("teeplugin", "teeplugin_backends", "ca", "ta", "deploy"),
)
_OURS = Path(__file__).resolve().parents[2]
# What the executable is made of: where these are the same, it is.
_EXECUTABLE_OF = (
    *("pyproject.toml", "hatch_build.py", "noxfile.py"),
    *("teeplugin", "teeplugin_backends", "deploy"),
)


def copy_sources(target: Path) -> Path:
    """Copy what a user has after a clone and needs to build, without what was built in it."""
    target.mkdir()
    for name in _SOURCES:
        source = _OURS / name
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=_built)
        else:
            shutil.copy(source, target / name)
    return target


def _built(folder: str, names: Sequence[str]) -> set[str]:
    """Name what an earlier build may have left in a folder of ours."""
    left = {"__pycache__"}
    if Path(folder) == _OURS / "deploy" / "docker":
        left |= {name for name in names if Path(name).suffix in {".so", ".sec"}}
        left |= {"tlogcat", "tee-device-plugin", "limits.sh"}
        left |= {name for name in names if name.startswith("tee-limit")}
    return left


def make_parts(checkout: Path) -> None:
    """Run `make executable library hook` in a checkout; the executable, which is slow, cached."""
    cached = cache_directory() / "executables" / _digest(checkout) / "tee-device-plugin"
    made = checkout / "pkg" / "tee-device-plugin"
    if cached.exists():
        made.parent.mkdir()
        shutil.copy2(cached, made)
    else:
        _run(["make", "executable", f"PYTHON={sys.executable}"], checkout)
        cached.parent.mkdir(parents=True, exist_ok=True)
        draft = cached.with_suffix(f".{os.getpid()}")
        shutil.copy2(made, draft)
        draft.rename(cached)
    _run(["make", "library", "hook"], checkout)


def _digest(checkout: Path) -> str:
    key = hashlib.sha256()
    for name in _EXECUTABLE_OF:
        top = checkout / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.suffix in {".py", ".sh", ".toml", ".txt"} and path.is_file():
                key.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes())
    return key.hexdigest()[:16]


class Builder:
    """A `docker` that builds, tags, and pushes into the lab, as there is no registry."""

    def __init__(self, directory: Path, import_image: Sequence[str]) -> None:
        """Keep images below `directory`; `import_image`, an archive and a name import it."""
        self._buildah = [
            *("buildah", "--storage-driver", "vfs"),
            *("--root", str(directory / "images"), "--runroot", str(directory / "run")),
        ]
        self._directory = directory
        self._import = import_image

    def prepare(self, programs: Path) -> None:
        """Load the base, and put `docker` into a directory that is to be on PATH."""
        folder = self._directory / "base"
        folder.mkdir()
        shutil.copy(_base_tar(), folder / "base.tar")
        (folder / "Dockerfile").write_text(_BASE_FILE)
        _run([*self._buildah, "build", "--isolation", "chroot", "-t", _BASE, str(folder)], folder)
        shutil.rmtree(folder)
        docker = programs / "docker"
        docker.write_text(
            _DOCKER.format(
                buildah=shlex.join(self._buildah),
                base=_BASE,
                import_image=shlex.join(self._import),
                archive=self._directory / "pushed.tar",
            )
        )
        docker.chmod(0o755)


_DOCKER = """\
#!/bin/sh
# Stands in for docker: there is no daemon here, and no registry.
set -eu
command=$1
shift
case "$command" in
  build) exec {buildah} build --isolation chroot --build-arg BASE={base} "$@" ;;
  tag) exec {buildah} tag "$@" ;;
  push)
    rm -f {archive}
    {buildah} push --quiet "$1" "oci-archive:{archive}:$1"
    exec {import_image} {archive} "$1"
    ;;
  *) exit 64 ;;
esac
"""


def _base_tar() -> Path:
    """Give the base's tar file, making it first where the cache lacks it (some minutes)."""
    target = cache_directory() / "images" / f"{_DEBIAN}-{_INCLUDED}.tar"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".base-") as scratch:
            root, draft = Path(scratch, "root"), Path(scratch, "base.tar")
            _run(_debootstrap(root), Path(scratch))
            _clear(root / "var/cache/apt/archives", root / "var/lib/apt/lists")
            packed = ["tar", "--numeric-owner", "--exclude=./dev/*", "--exclude=./proc/*"]
            _run([*packed, "-C", str(root), "-cf", str(draft), "."], Path(scratch))
            draft.rename(target)
    return target


def _debootstrap(root: Path) -> list[str]:
    return ["debootstrap", "--variant=minbase", f"--include={_INCLUDED}", _DEBIAN, str(root)]


def _clear(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder)
        folder.mkdir()


def _run(command: Iterable[str], folder: Path) -> None:
    result = subprocess.run(
        list(command),
        cwd=folder,
        env=shell_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(
            f"{shlex.join(command)}:\n{result.stdout[-4000:]}{result.stderr[-4000:]}"
        )


def shell_environment() -> dict[str, str]:
    """The environment of a user's shell: without what make, nox and Python hand down to tests."""
    prefixes = ("MAKE", "MFLAGS", "PYTHON", "NOX", "VIRTUAL_ENV", "PYTEST")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
