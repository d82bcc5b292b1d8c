"""What this machine must have for the lab; missing Debian packages are installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

CNI_PLUGINS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))

# A program, and the Debian package that has it.  Looking for programs rather than packages
# lets a machine bring its own, such as a newer containerd.
_PROGRAMS = {
    "busybox": "busybox-static",
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "etcd": "etcd-server",
    "faketime": "faketime",
    "gcc": "gcc",
    "ip": "iproute2",
    "mountpoint": "util-linux",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "runc": "runc",
    "setsid": "util-linux",
    "unshare": "util-linux",
}
_LIBC_ARCHIVES = "/usr/lib/*/libc.a"
_INSTALL_SECONDS = 600


class UnavailableError(Exception):
    """This machine can't have the lab; the message is one line that says why."""


def cni_plugins() -> Path | None:
    """Find the directory of the CNI plugins."""
    return next((path for path in CNI_PLUGINS if (path / "bridge").exists()), None)


def missing_packages() -> list[str]:
    """List the Debian packages the lab lacks."""
    missing = {package for program, package in _PROGRAMS.items() if not shutil.which(program)}
    if cni_plugins() is None:
        missing.add("containernetworking-plugins")
    if not any(Path("/").glob(_LIBC_ARCHIVES.lstrip("/"))):
        missing.add("libc6-dev")
    return sorted(missing)


def ensure() -> None:
    """Make sure that all but Go is there, or say in one line what can't be had."""
    if os.geteuid() != 0:
        raise UnavailableError("the cluster tests need root: they make namespaces and containers")
    packages = missing_packages()
    if not packages:
        return
    names = " ".join(packages)
    if not shutil.which("apt-get"):
        raise UnavailableError(f"missing, and there is no apt-get to install it: {names}")
    _install(packages)
    still = missing_packages()
    if still:
        raise UnavailableError(f"installed, but still not found: {' '.join(still)}")
    _stop_services(packages)


def ensure_go() -> None:
    """Make sure that Go is there; it is needed only to build the Kubernetes programs."""
    if not shutil.which("go"):
        raise UnavailableError("Go is missing: it builds the Kubernetes programs, once")


def _install(packages: list[str]) -> None:
    install = ["install", "--yes", "--no-install-recommends", *packages]
    if _apt_get(install).returncode == 0:
        return
    # The package lists may be missing, or older than the archive.
    _apt_get(["update"])
    result = _apt_get(install)
    if result.returncode != 0:
        error = next((line for line in result.stderr.splitlines() if line.startswith("E:")), "")
        raise UnavailableError(f"apt-get can't install {' '.join(packages)}. {error}")


def _apt_get(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    return subprocess.run(
        ["apt-get", "-q", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )


def _stop_services(packages: Iterable[str]) -> None:
    """Switch off what Debian starts by itself: the lab runs its own etcd and containerd."""
    if not Path("/run/systemd/system").exists():
        return
    for package, service in (("etcd-server", "etcd"), ("containerd", "containerd")):
        if package in packages:
            subprocess.run(["systemctl", "disable", "--now", service], check=False)
