"""The versions of Kubernetes and the container runtimes that the lab can have, and how they differ.

`--kubernetes` and `--containerd` or `--cri-o` choose them, or the two environment variables, which
child processes inherit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

MODULE = Path(__file__).resolve().parent / "kubernetes"
KUBERNETES_VARIABLE = "TEEPLUGIN_KUBERNETES"
RUNTIME_VARIABLE = "TEEPLUGIN_RUNTIME"
CONTAINERDS: Mapping[str, str] = MappingProxyType({"2": "containerd 2", "1.6": "containerd 1.6"})
"""What --containerd takes, and the runtime that it means."""
CRI_O = "CRI-O"
RUNTIMES: Mapping[str, str | None] = MappingProxyType(
    {CONTAINERDS["2"]: "v2.4.2", CONTAINERDS["1.6"]: None, CRI_O: "v1.34.0"}
)
"""Each runtime's Go module version; None is the machine's own package. The first is the default."""


@dataclass(frozen=True)
class Difference:
    """Something that kubelets before a version, and from one on, do otherwise than the newest."""

    before: tuple[int, int]
    what: str
    reason: str
    since: tuple[int, int] = (1, 0)


NEWER_DROPPED = Difference(
    (1, 37),
    "the end of an older instance's stream disconnects the newer instance, which registers again",
    "the kubelet finds its client by the resource's name; before 1.25 and from 1.37 on it looks "
    "whether it is still the same client",
    since=(1, 25),
)
NO_UNIT_HEALTH = Difference(
    (1, 36),
    "a pod's status does not list the health of its units",
    "the feature gate ResourceHealthStatus is on by default from 1.36 on",
)
EVERY_FILE_REMOVED = Difference(
    (1, 33),
    "a starting kubelet removes every file in device-plugins",
    "from 1.33 on it removes sockets only",
)
NO_ALLOCATABLE = Difference(
    (1, 23),
    "the kubelet does not say which devices it holds healthy, so the contract can't be checked",
    "its PodResources API has GetAllocatableResources from 1.21 on, by default from 1.23 on",
)
DIFFERENCES = (NEWER_DROPPED, NO_UNIT_HEALTH, EVERY_FILE_REMOVED, NO_ALLOCATABLE)

CONTROL_PLANES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "1.20.15": (
            "1.24.17",
            (
                "code that is generated for the API server is in its modules from 1.24 on. An API "
                "server of 1.24 supports kubelets from 1.22 on, and still serves each API that "
                "one of 1.20 uses"
            ),
        ),
    }
)
"""Kubelets that join another version's control plane, and why."""

UNRUN: Mapping[str, str] = MappingProxyType(
    {
        "1.19": "its PodResources API is v1alpha1: the simulated kubelet of 1.18 stands for it",
        "1.18": "its modules can't be had: the simulated kubelet of 1.18 keeps the contract",
    }
)
"""Versions without a run of the suites, and what is known of them all the same."""


OLD_TOOLCHAIN = "go1.21.13"
"""The newest that builds Kubernetes up to 1.26, whose modules use what Go has removed since."""


def toolchain(kubernetes: str) -> str:
    """Name the Go toolchain that builds a Kubernetes."""
    return OLD_TOOLCHAIN if int(kubernetes.split(".")[1]) <= 26 else "auto"


def default_kubernetes() -> str:
    """Read the version that go.mod names."""
    text = (MODULE / "go.mod").read_text()
    found = re.search(r"^\s*(?:require\s+)?k8s\.io/kubernetes v(\S+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{MODULE / 'go.mod'} does not require k8s.io/kubernetes")
    return found[1]


@dataclass(frozen=True)
class Versions:
    """The version of one lab's kubelet, and the container runtime below it."""

    kubernetes: str
    runtime: str = next(iter(RUNTIMES))

    @classmethod
    def from_environment(cls) -> Versions:
        """Take what the environment names, else the defaults."""
        kubernetes = os.environ.get(KUBERNETES_VARIABLE) or default_kubernetes()
        runtime = os.environ.get(RUNTIME_VARIABLE) or cls.runtime
        if not re.fullmatch(r"1\.\d+\.\d+", kubernetes):
            raise ValueError(f"Kubernetes {kubernetes}: give a full version, as in 1.33.13")
        if runtime not in RUNTIMES:
            known = " or ".join(RUNTIMES)
            raise ValueError(f"{RUNTIME_VARIABLE}={runtime} is unknown here: give {known}")
        return cls(kubernetes, runtime)

    def __str__(self) -> str:
        return f"Kubernetes {self.kubernetes}, {self.runtime}"

    @property
    def has_cdi(self) -> bool:
        """Tell whether the runtime knows CDI devices."""
        return self.runtime != CONTAINERDS["1.6"]

    @property
    def control_plane(self) -> str:
        """The version of the API server, scheduler and controller manager, and of kubectl."""
        return CONTROL_PLANES.get(self.kubernetes, (self.kubernetes,))[0]

    @property
    def minor(self) -> int:
        """The kubelet's minor version: 33 of 1.33.13."""
        return int(self.kubernetes.split(".")[1])

    @property
    def control_plane_minor(self) -> int:
        """The control plane's minor version."""
        return int(self.control_plane.split(".")[1])

    def differs_by(self, difference: Difference) -> bool:
        """Tell whether this kubelet has a difference to the newest."""
        return difference.since <= (1, self.minor) < difference.before

    @property
    def differences(self) -> tuple[Difference, ...]:
        """List all differences of this kubelet."""
        return tuple(each for each in DIFFERENCES if self.differs_by(each))


def add_runtime_options(add: Callable[..., object]) -> None:
    """Add --containerd and --cri-o to a parser; both give `runtime`."""
    versions = {
        "metavar": "VERSION",
        "choices": [*CONTAINERDS.values()],
        "type": lambda text: CONTAINERDS.get(text, text),
        "help": f"the version of containerd: {' or '.join(CONTAINERDS)}",
    }
    add("--containerd", dest="runtime", **versions)
    add(
        "--cri-o", dest="runtime", action="store_const", const=CRI_O, help="CRI-O below the kubelet"
    )
