"""The lab's container runtimes, containerd and CRI-O, each by the same few commands."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Protocol

from tests.cluster import binaries, images, requirements
from tests.cluster.binaries import PINNS
from tests.cluster.settings import Settings
from tests.cluster.versions import CRI_O


class Runtime(Protocol):
    """Its command lines, all to be run inside the lab, and its configuration."""

    process: str
    """The name of its process and of its log."""

    def configure(self) -> None:
        """Write its configuration."""

    def command(self) -> list[str]:
        """Begin the runtime itself."""

    def asking(self) -> list[str]:
        """End with status 0 while it answers."""

    def importing(self) -> list[str]:
        """Import an image: the path of an OCI archive and the image's name are to follow."""

    def listing(self) -> list[str]:
        """List its images, for `offered`."""

    def offered(self, listed: str) -> set[str]:
        """Name the images in such a list that the kubelet can use."""


def of(settings: Settings) -> Runtime:
    """Give the lab's runtime, built first where the cache lacks it."""
    kind = CriO if settings.versions.runtime == CRI_O else Containerd
    return kind(settings, binaries.ensure_runtime(settings.versions))


class Containerd:
    """containerd, the machine's own or one that was built."""

    process = "containerd"

    def __init__(self, settings: Settings, directory: Path | None) -> None:
        self._settings = settings
        # It finds its shim on PATH.
        self._prefix = [] if directory is None else _with_path(directory)
        self._file = settings.config / "containerd.toml"

    def configure(self) -> None:
        self._file.write_text(_containerd(self._settings))

    def command(self) -> list[str]:
        return [*self._prefix, "containerd", f"--config={self._file}", "--log-level=info"]

    def asking(self) -> list[str]:
        return self._ctr("version")

    def importing(self) -> list[str]:
        return ["sh", "-c", f'exec {shlex.join(self._ctr("images", "import"))} "$1"', "sh"]

    def listing(self) -> list[str]:
        return self._ctr("images", "list")

    def offered(self, listed: str) -> set[str]:
        # The part of containerd that the kubelet talks to hears of images by an event, and
        # marks those it has heard of.
        lines = listed.splitlines()
        return {line.split()[0] for line in lines if "io.cri-containerd.image=managed" in line}

    def _ctr(self, *words: str) -> list[str]:
        address = f"--address={self._settings.runtime_socket}"
        return [*self._prefix, "ctr", address, "--namespace=k8s.io", *words]


class CriO:
    """CRI-O, built from its module; skopeo and buildah work on its images."""

    process = "crio"

    def __init__(self, settings: Settings, directory: Path | None) -> None:
        self._settings = settings
        directory = directory or Path()  # it is always built
        self._crio = str(directory / "crio")
        self._file = settings.config / "crio.conf"
        self._policy = settings.config / "policy.json"
        self._pinns = str(directory / PINNS)

    def configure(self) -> None:
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        runc = self._settings.config / "runc"
        runc.write_text(_RUNC.format(runc=shutil.which("runc")))
        runc.chmod(0o755)
        self._file.write_text(_cri_o(self._settings, self._policy, self._pinns, runc))

    def command(self) -> list[str]:
        # No directory of the machine's own configuration.
        return [self._crio, f"--config={self._file}", "--config-dir="]

    def asking(self) -> list[str]:
        return [self._crio, "status", f"--socket={self._settings.runtime_socket}", "info"]

    def importing(self) -> list[str]:
        target = f"containers-storage:[overlay@{self._settings.layers}+{self._runroot}]$2"
        copy = f'exec skopeo --insecure-policy copy --quiet "oci-archive:$1" "{target}"'
        return ["sh", "-c", copy, "sh"]

    def listing(self) -> list[str]:
        storage = ["--root", str(self._settings.layers), "--runroot", str(self._runroot)]
        return ["buildah", "--storage-driver=overlay", *storage, "images", f"--format={_NAMES}"]

    def offered(self, listed: str) -> set[str]:
        return set(listed.split())

    @property
    def _runroot(self) -> Path:
        return self._settings.run / "crio"


_NAMES = "{{.Name}}:{{.Tag}}"


def _with_path(directory: Path) -> list[str]:
    return ["env", f"PATH={directory}:{os.environ['PATH']}"]


def _containerd(settings: Settings) -> str:
    # containerd 2 reads this older form, too. CDI is read by 1.7 and newer; 1.6 ignores its keys.
    return f"""\
version = 2
root = "{settings.layers}"
state = "{settings.run / "containerd"}"

[grpc]
  address = "{settings.runtime_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  enable_cdi = true
  cdi_spec_dirs = ["{settings.config / "cdi"}", "/etc/cdi"]

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{requirements.cni_plugins()}"
    conf_dir = "{settings.config / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


_RUNC = """\
#!/bin/sh
# This machine may not let anybody lower oom_score_adj. CRI-O has no restrict_oom_score_adj.
edit='s/"oomScoreAdj": *-[0-9]*/"oomScoreAdj":0/'
for word; do
  [ "$before" != --bundle ] || sed -i "$edit" "$word/config.json"
  before=$word
done
exec {runc} "$@"
"""


def _cri_o(settings: Settings, policy: Path, pinns: str, runc: Path) -> str:
    # Without AppArmor, as containerd above. Its own default runtime is crun.
    return f"""\
[crio]
root = "{settings.layers}"
runroot = "{settings.run / "crio"}"
storage_driver = "overlay"
log_dir = "{settings.logs / "pods"}"

[crio.api]
listen = "{settings.runtime_socket}"

[crio.runtime]
apparmor_profile = "unconfined"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
cdi_spec_dirs = ["{settings.config / "cdi"}", "/etc/cdi"]
default_runtime = "runc"
pinns_path = "{pinns}"

[crio.runtime.runtimes.runc]
runtime_path = "{runc}"
monitor_path = "{shutil.which("conmon")}"
monitor_cgroup = "pod"

[crio.image]
pause_image = "{images.PAUSE}"
signature_policy = "{policy}"

[crio.network]
network_dir = "{settings.config / "cni"}"
plugin_dirs = ["{requirements.cni_plugins()}"]
"""
