"""The Kubernetes programs: built once from the module in kubernetes/, then taken from the cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import requirements
from tests.cluster.settings import HERE, cache_directory
from tests.system_packages import UnavailableError

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet")

_MODULE = HERE / "kubernetes"
_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Binaries:
    """The directory that holds the Kubernetes programs of one version."""

    directory: Path
    version: str

    def __getitem__(self, program: str) -> str:
        return str(self.directory / program)


def version() -> str:
    """Read the version of Kubernetes from go.mod."""
    text = (_MODULE / "go.mod").read_text()
    found = re.search(r"^\s*(?:require\s+)?k8s\.io/kubernetes (v\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{_MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return found[1]


def ensure() -> Binaries:
    """Return the programs, building them first where the cache lacks them (some minutes)."""
    wanted = _cached()
    if _complete(wanted):
        return wanted
    requirements.ensure_go()
    with _one_build_at_a_time(wanted.directory.parent):
        if not _complete(wanted):
            _build(wanted)
    return wanted


def _cached() -> Binaries:
    release = version()
    key = hashlib.sha256()
    for part in ((_MODULE / "go.mod").read_bytes(), (_MODULE / "go.sum").read_bytes()):
        key.update(part)
    key.update("\0".join((*_FLAGS, _linker_flags(release))).encode())
    base = cache_directory() / "kubernetes"
    return Binaries(base / f"{release}-{key.hexdigest()[:12]}", release)


def _complete(binaries: Binaries) -> bool:
    # The directory appears by one rename, after all of them are in it.
    return binaries.directory.is_dir()


def _linker_flags(release: str) -> str:
    """Strip the programs, and tell them their version: without it they call themselves v0.0.0."""
    major, minor, _ = release.removeprefix("v").split(".", 2)
    stamped = {"gitVersion": release, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = (f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamped.items())
    return " ".join(("-s", "-w", *stamps))


def _build(wanted: Binaries) -> None:
    draft = Path(tempfile.mkdtemp(prefix=".build-", dir=wanted.directory.parent))
    packages = [f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS]
    # Without cgo the programs need no C library of this machine, and no C compiler.
    environment = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off"}
    flags = [*_FLAGS, f"-ldflags={_linker_flags(wanted.version)}"]
    try:
        print(f"building Kubernetes {wanted.version}: once, some ten minutes", flush=True)
        built = subprocess.run(
            ["go", "build", *flags, "-o", f"{draft}/", *packages],
            cwd=_MODULE,
            env=environment,
            check=False,
        )
        if built.returncode != 0:
            raise UnavailableError(f"go can't build Kubernetes {wanted.version}; it says why above")
        draft.chmod(0o755)
        draft.rename(wanted.directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _one_build_at_a_time(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in directory.glob(".build-*"):
            shutil.rmtree(abandoned)
        yield
