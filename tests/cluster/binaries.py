"""The lab's Go programs: built once from their Go modules, then taken from the cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import requirements
from tests.cluster.settings import cache_directory
from tests.cluster.versions import CONTAINERDS, MODULE, Versions, default_kubernetes
from tests.system_packages import UnavailableError

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet")
CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")

_KUBERNETES = "k8s.io/kubernetes"
_CONTAINERD = "github.com/containerd/containerd/v2"
_FLAGS = ("-trimpath", "-buildvcs=false")
_VERSION_PACKAGE = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Build:
    """Programs of one version of a Go module, and what they are built by."""

    module: str
    version: str
    programs: tuple[str, ...]
    go_mod: str
    """The text of the module that requires it; "" is the one in kubernetes/, with its go.sum."""

    @property
    def directory(self) -> Path:
        """Where the cache keeps them."""
        key = hashlib.sha256()
        if self.go_mod:
            parts: Sequence[bytes] = (self.go_mod.encode(), " ".join(self.programs).encode())
        else:
            parts = ((MODULE / "go.mod").read_bytes(), (MODULE / "go.sum").read_bytes())
        for part in parts:
            key.update(part)
        key.update("\0".join((*self.flags, self.linker_flags)).encode())
        base = cache_directory() / ("kubernetes" if self.module == _KUBERNETES else "containerd")
        return base / f"{self.version}-{key.hexdigest()[:12]}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of `go build`: what isn't pinned by a go.sum is checked by Go's sum database."""
        trim, *rest = _FLAGS
        return (trim, "-mod=mod" if self.go_mod else "-mod=readonly", *rest)

    @property
    def linker_flags(self) -> str:
        """Strip the programs, and tell them their version: else Kubernetes says v0.0.0."""
        if self.module != _KUBERNETES:
            return f"-s -w -X {self.module}/version.Version={self.version}"
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        stamped = {
            "gitVersion": self.version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
        }
        stamps = (f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamped.items())
        return " ".join(("-s", "-w", *stamps))

    def ensure(self) -> Path:
        """Return the directory of the programs, building them first where the cache lacks them."""
        # The directory appears by one rename, after all of them are in it.
        if not self.directory.is_dir():
            requirements.ensure_go()
            with _one_build_at_a_time(self.directory.parent):
                if not self.directory.is_dir():
                    self._build()
        return self.directory

    def _build(self) -> None:
        draft = Path(tempfile.mkdtemp(prefix=".build-", dir=self.directory.parent))
        try:
            print(f"building {self.module} {self.version}: once, some ten minutes", flush=True)
            programs = draft / "programs"
            programs.mkdir()
            packages = [f"{self.module}/cmd/{program}" for program in self.programs]
            flags = [*self.flags, f"-ldflags={self.linker_flags}"]
            if self.go_mod:
                (draft / "go.mod").write_text(self.go_mod)
            built = subprocess.run(
                ["go", "build", *flags, "-o", f"{programs}/", *packages],
                cwd=draft if self.go_mod else MODULE,
                # Without cgo they need no C library of this machine, and no C compiler.
                env=os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "auto"},
                check=False,
            )
            if built.returncode != 0:
                raise UnavailableError(
                    f"go can't build {self.module} {self.version}; it says why above"
                )
            programs.rename(self.directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def ensure(versions: Versions) -> Mapping[str, str]:
    """Return each Kubernetes program's path; where the cache lacks one, this takes minutes."""
    found: dict[str, str] = {}
    for version in (versions.control_plane, versions.kubernetes):
        own = PROGRAMS if version == versions.control_plane else ("kubelet",)
        directory = _kubernetes(version, own).ensure()
        found |= {program: str(directory / program) for program in own}
    return found


def ensure_containerd(versions: Versions) -> Path | None:
    """Return the directory of containerd and its tools; None where they are on PATH."""
    version = CONTAINERDS[versions.containerd]
    if version is None:
        return None
    go_mod = f"module teeplugin.test/containerd\n\ngo 1.26.0\n\nrequire {_CONTAINERD} {version}\n"
    return Build(_CONTAINERD, version, CONTAINERD_PROGRAMS, go_mod).ensure()


def _kubernetes(version: str, programs: tuple[str, ...]) -> Build:
    go_mod = "" if version == default_kubernetes() else _go_mod(version)
    return Build(_KUBERNETES, f"v{version}", programs, go_mod)


def _go_mod(version: str) -> str:
    """Write a module that requires a Kubernetes, with what Kubernetes replaces.

    Its go.mod replaces the modules of its own tree by folders, which the module lacks. Each of
    them is published as v0.MINOR.PATCH.
    """
    cached = cache_directory() / "kubernetes" / f"v{version}.mod"
    if cached.exists():
        return cached.read_text()
    requirements.ensure_go()
    staged = version.removeprefix("1.")
    downloaded = json.loads(_go("mod", "download", "-json", f"{_KUBERNETES}@v{version}"))
    described: dict[str, Any] = json.loads(_go("mod", "edit", "-json", downloaded["GoMod"]))
    lines = ["module teeplugin.test/kubernetes", "", f"go {described['Go']}", ""]
    lines += [f"require {_KUBERNETES} v{version}", ""]
    for replaced in described["Replace"]:
        old, new = replaced["Old"]["Path"], replaced["New"]
        is_staged = new["Path"].startswith("./")
        by = f"{old} v0.{staged}" if is_staged else f"{new['Path']} {new['Version']}"
        lines.append(f"replace {old} => {by}")
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_text("\n".join(lines) + "\n")
    return cached.read_text()


def _go(*words: str) -> str:
    environment = os.environ | {"GOTOOLCHAIN": "auto", "GOWORK": "off"}
    result = subprocess.run(
        ["go", *words], capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    if result.returncode != 0:
        raise UnavailableError(f"go {' '.join(words)}: {result.stdout}{result.stderr}".strip())
    return result.stdout


@contextmanager
def _one_build_at_a_time(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in directory.glob(".build-*"):
            shutil.rmtree(abandoned)
        yield
