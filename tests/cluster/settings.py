"""Where the lab keeps its things and what it is called; read by every module here."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.versions import Versions

HERE = Path(__file__).resolve().parent

DEFAULT_STATE = Path("/var/tmp/teeplugin-lab")  # noqa: S108 - guarded by a marker, see state.py
NODE_NAME = "lab-node"
NODE_ADDRESS = "10.88.0.1"
NODE_ADDRESS_WITH_PREFIX = f"{NODE_ADDRESS}/16"
SERVICES = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
"""What pods know the API server by: the first of the services' addresses."""

BRIDGE = "teeplugin-lab"
KUBELET_DIR = Path("/var/lib/kubelet")
"""What processes inside the lab call the kubelet's directory; outside it is `Lab.kubelet_dir`."""

LONGEST_NODE_STATUS_SECONDS = 10
"""The kubelet's default; the lab's is 1 s, which makes the tests short."""


def cache_directory() -> Path:
    """Name the directory of what is built once and kept: programs and images."""
    named = os.environ.get("TEEPLUGIN_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "teeplugin"


@dataclass(frozen=True)
class Settings:
    """The lab's places on this machine, all below one state directory, and its versions."""

    state: Path
    node_status_seconds: int = 1
    """nodeStatusUpdateFrequency: the node object shows a change of allocatable within this time."""
    versions: Versions = field(default_factory=Versions.from_environment)

    @classmethod
    def from_environment(cls) -> Settings:
        """Take TEEPLUGIN_LAB and TEEPLUGIN_LAB_NODE_STATUS_SECONDS, or the defaults."""
        state = Path(os.environ.get("TEEPLUGIN_LAB") or DEFAULT_STATE).absolute()
        for hidden in (Path("/run"), Path("/dev"), Path("/proc"), Path("/sys")):
            if state.resolve().is_relative_to(hidden):
                raise ValueError(
                    f"TEEPLUGIN_LAB={state}: {hidden} is another one inside the lab; "
                    "name a directory on a disk, such as one below /var/tmp"
                )
        seconds = int(os.environ.get("TEEPLUGIN_LAB_NODE_STATUS_SECONDS") or 1)
        if not 1 <= seconds <= LONGEST_NODE_STATUS_SECONDS:
            raise ValueError(
                f"TEEPLUGIN_LAB_NODE_STATUS_SECONDS={seconds}: the tests' deadlines allow for "
                f"1 to {LONGEST_NODE_STATUS_SECONDS}"
            )
        return cls(state.resolve(), seconds)

    @property
    def cgroup_name(self) -> str:
        """Name the control group of everything the lab runs; one for each state directory."""
        if self.state == DEFAULT_STATE:
            return "teeplugin-lab"
        return "teeplugin-lab-" + hashlib.sha256(bytes(self.state)).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """Records of processes, and sockets."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log for each program; kept by `down`, emptied by the next `up`."""
        return self.state / "logs"

    @property
    def config(self) -> Path:
        """Configuration written by `up`, with the kubeconfig."""
        return self.state / "config"

    @property
    def kubelet(self) -> Path:
        """The kubelet's directory: /var/lib/kubelet inside the lab."""
        return self.state / "kubelet"

    @property
    def layers(self) -> Path:
        """Containers' layers; overlayfs must work here."""
        return self.state / "containerd"

    @property
    def etcd(self) -> Path:
        """The cluster's objects."""
        return self.state / "etcd"

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig; its server answers inside the lab only."""
        return self.config / "kubeconfig"

    @property
    def versions_record(self) -> Path:
        """What versions the running lab has."""
        return self.config / "versions"

    @property
    def runtime_socket(self) -> Path:
        """Where the container runtime answers the kubelet; for `ctr --address`."""
        return self.run / "containerd.sock"

    @property
    def volatile(self) -> tuple[Path, ...]:
        """List what `down` removes."""
        return (self.run, self.config, self.kubelet, self.layers, self.etcd)
