"""The Debian packages that tests need: `make system-packages` installs those that are missing.

Tests only look. One that lacks something is skipped, with the reason, or fails where CI is set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

CNI_BRIDGE = "/usr/lib/cni/bridge"

# What tests ask for by name: programs and files, each with its package.  Looking for these rather
# than for packages lets a machine bring its own, such as a newer containerd.
PARTS = {
    "compiler": {"gcc": "gcc", "make": "make", "readelf": "binutils"},
    "cross compiler": {
        "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
        "/usr/aarch64-linux-gnu/include/stdio.h": "libc6-dev-arm64-cross",
    },
    "emulator": {
        "qemu-aarch64": "qemu-user",
        "/usr/aarch64-linux-gnu/lib/libc.so.6": "libc6-arm64-cross",
    },
    "static emulator": {"qemu-aarch64-static": "qemu-user-static"},
    "valgrind": {"valgrind": "valgrind"},
    "git": {"git": "git"},
    "zsh": {"zsh": "zsh"},
    "openssl": {"openssl": "openssl"},
    # The interpreter of .ci/stranger, who can't reach one in another's home.
    "python": {"/usr/bin/python3": "python3", "/usr/lib/python3*/ensurepip": "python3-venv"},
    "systemd": {"systemd-analyze": "systemd"},
    "cluster": {
        "busybox": "busybox-static",
        "containerd": "containerd",
        "containerd-shim-runc-v2": "containerd",
        "ctr": "containerd",
        "faketime": "faketime",
        "gcc": "gcc",
        "ip": "iproute2",
        "mountpoint": "util-linux",
        "nsenter": "util-linux",
        "openssl": "openssl",
        "runc": "runc",
        "setsid": "util-linux",
        "unshare": "util-linux",
        "/usr/lib/*/libc.a": "libc6-dev",
        CNI_BRIDGE: "containernetworking-plugins",
    },
    "cri-o": {"buildah": "buildah", "conmon": "conmon", "skopeo": "skopeo"},
    "images": {
        "buildah": "buildah",
        "debootstrap": "debootstrap",
        "gcc": "gcc",
        "make": "make",
        "runc": "runc",
    },
}

# Where other distributions put what Debian has elsewhere.
_ELSEWHERE = {CNI_BRIDGE: "/opt/cni/bin/bridge"}
_INSTALL_SECONDS = 600
_HOW = "make system-packages installs it, as root on Debian"


class UnavailableError(Exception):
    """This machine lacks what a test needs; the message is one line that says what."""


def missing_packages(parts: Iterable[str] = PARTS) -> list[str]:
    """List the Debian packages that these parts lack."""
    wanted = {thing: package for part in parts for thing, package in PARTS[part].items()}
    return sorted({package for thing, package in wanted.items() if find(thing) is None})


def find(thing: str) -> Path | None:
    """Find a program on PATH, or a file by its pattern."""
    if not thing.startswith("/"):
        found = shutil.which(thing)
        return Path(found) if found else None
    places = (thing, _ELSEWHERE.get(thing, thing))
    return next((path for place in places for path in Path("/").glob(place.lstrip("/"))), None)


def ensure(parts: Iterable[str]) -> None:
    """Make sure that these parts are there.

    Raises:
        UnavailableError: one line with what is missing, and what installs it.
    """
    packages = missing_packages(parts)
    if packages:
        raise UnavailableError(f"missing: {', '.join(packages)}: {_HOW}")


def install(packages: list[str]) -> None:
    """Install packages, and switch off what Debian starts of them: the tests run their own.

    Raises:
        UnavailableError: there is no root or no apt-get, or it failed.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UnavailableError(
            f"missing: {', '.join(packages)}: only root can install them, with Debian's apt-get"
        )
    command = ["install", "--yes", "--no-install-recommends", *packages]
    if apt_get(command).returncode != 0:
        # The package lists may be missing, or older than the archive.
        apt_get(["update"])
        result = apt_get(command)
        if result.returncode != 0:
            errors = [line for line in result.stderr.splitlines() if line.startswith("E:")]
            raise UnavailableError(
                f"apt-get can't install {' '.join(packages)}. {''.join(errors[:1])}"
            )
    if "containerd" in packages and Path("/run/systemd/system").exists():
        subprocess.run(["systemctl", "disable", "--now", "containerd"], check=False)


def apt_get(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run apt-get, which asks nothing; its exit status is for the caller to look at."""
    return subprocess.run(
        ["apt-get", "-q", *arguments],
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        check=False,
    )


def main() -> int:
    """Install what is missing, and say so."""
    packages = missing_packages()
    if not packages:
        print("system packages: nothing is missing")
        return 0
    print(f"system packages: installing {' '.join(packages)} ...", flush=True)
    try:
        install(packages)
    except UnavailableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    left = missing_packages()
    if left:
        print(f"error: installed, but still not found: {' '.join(left)}", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
