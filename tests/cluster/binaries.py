"""The lab's Go programs: built once from their Go modules, then taken from the cache."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.cluster.go_programs import Build, download, ensure_go, go
from tests.cluster.settings import cache_directory
from tests.cluster.versions import (
    CONTROL_PLANES,
    CRI_O,
    RUNTIMES,
    Versions,
    default_kubernetes,
    toolchain,
)

_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
PROGRAMS = (*_CONTROL_PLANE, "kubectl", "kubelet")
CONTAINERD_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")

_KUBERNETES = "k8s.io/kubernetes"
_CONTAINERD = "github.com/containerd/containerd/v2"
_CRI_O = "github.com/cri-o/cri-o"
_CRI_O_TAGS = "containers_image_openpgp exclude_graphdriver_btrfs"
"""Without the libraries of GnuPG and Btrfs."""
PINNS = "pinns"
"""CRI-O's program in C that keeps a pod's namespaces."""
_ETCD = "go.etcd.io/etcd/server/v3"
ETCD_VERSION = "v3.6.16"
"""Debian's 3.4 answers no watch without a resourceVersion to an API server of 1.36."""

_GO_MOD = "module teeplugin.test/{name}\n\ngo 1.26.0\n\nrequire {module} {version}\n"
_VERSION_PACKAGE = "k8s.io/component-base/version"


def ensure(versions: Versions) -> Mapping[str, str]:
    """Return each Kubernetes program's path; where the cache lacks one, this takes minutes."""
    # A kubectl of today serves old clusters too, and knows what their own lacks.
    places = {name: _directory(versions.control_plane) for name in _CONTROL_PLANE}
    places |= {
        "kubectl": _directory(default_kubernetes()),
        "kubelet": _directory(versions.kubernetes),
    }
    go_mod = _GO_MOD.format(name="etcd", module=_ETCD, version=ETCD_VERSION)
    etcd = Build("etcd", ETCD_VERSION, (_ETCD,), go_mod).ensure()
    # Go calls a program by its package, of which this is the last part but for the version.
    found = {name: str(directory / name) for name, directory in places.items()}
    return found | {"etcd": str(etcd / "server")}


def _directory(version: str) -> Path:
    return _kubernetes(version, ("kubelet",) if version in CONTROL_PLANES else PROGRAMS).ensure()


def ensure_runtime(versions: Versions) -> Path | None:
    """Return the directory of the container runtime's programs; None where they are on PATH."""
    version = RUNTIMES[versions.runtime]
    if version is None:
        return None
    if versions.runtime == CRI_O:
        return _ensure_cri_o(version)
    go_mod = _GO_MOD.format(name="containerd", module=_CONTAINERD, version=version)
    packages = tuple(f"{_CONTAINERD}/cmd/{program}" for program in CONTAINERD_PROGRAMS)
    stamp = f"-s -w -X {_CONTAINERD}/version.Version={version}"
    return Build("containerd", version, packages, go_mod, stamp).ensure()


def _ensure_cri_o(version: str) -> Path:
    go_mod = _GO_MOD.format(name="crio", module=_CRI_O, version=version)
    directory = Build(
        "cri-o", version, (f"{_CRI_O}/cmd/crio",), go_mod, tags=_CRI_O_TAGS, sums_of=_CRI_O
    ).ensure()
    if not (directory / PINNS).exists():
        downloaded = download(f"{_CRI_O}@{version}")
        sources = sorted(map(str, Path(downloaded["Dir"], PINNS, "src").glob("*.c")))
        draft = directory / f".{PINNS}.{os.getpid()}"
        subprocess.run(["gcc", "-static", "-Os", "-s", "-o", draft, *sources], check=True)
        draft.rename(directory / PINNS)
    return directory


def _kubernetes(version: str, programs: tuple[str, ...]) -> Build:
    go_mod = "" if version == default_kubernetes() else _go_mod(version)
    packages = tuple(f"{_KUBERNETES}/cmd/{program}" for program in programs)
    return Build(
        "kubernetes", f"v{version}", packages, go_mod, _stamps(version), toolchain(version)
    )


def _stamps(version: str) -> str:
    """Strip the programs, and stamp their version: else Kubernetes says v0.0.0."""
    major, minor, _ = version.split(".", 2)
    stamped = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    stamps = (f"-X {_VERSION_PACKAGE}.{name}={value}" for name, value in stamped.items())
    return " ".join(("-s", "-w", *stamps))


def _go_mod(version: str) -> str:
    """Write a module that requires a Kubernetes, with what Kubernetes replaces.

    Its go.mod replaces the modules of its own tree by folders, which the module lacks. Each of
    them is published as v0.MINOR.PATCH.
    """
    cached = cache_directory() / "kubernetes" / f"v{version}.mod"
    if cached.exists():
        return cached.read_text()
    ensure_go()
    staged = version.removeprefix("1.")
    downloaded = download(f"{_KUBERNETES}@v{version}")
    described: dict[str, Any] = json.loads(go("mod", "edit", "-json", downloaded["GoMod"]))
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
