"""Makes a Debian with Python as a base for `nox -s release`: `debian_base.py MACHINE FILE.tar`.

For where the Dockerfile's base can't be pulled. Needs root, debootstrap and, for the other machine,
what deploy/release/emulation.py needs; there it takes ten minutes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import emulation

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
RELEASE: Final = "bookworm"
_SECONDS: Final = 5400
_DEVICES: Final = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
_LEFT_OUT: Final = ("./dev/*", "./proc/*", "./sys/*", "./debootstrap", "./usr/local/sbin/mknod")
_CACHES: Final = ("./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*")

# What stands in for mknod reports success: a user namespace may make no device, and these exist.
_SECOND_STAGE: Final = """\
mount --rbind /proc "$1/proc" && mount --rbind /sys "$1/sys" || exit 97
PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot "$1" /debootstrap/debootstrap --second-stage
"""


class BaseError(Exception):
    """There is no base: why."""


def unpack(root: Path, machine: str) -> None:
    """Download and unpack the packages; programs of the machine aren't run yet."""
    architecture = f"--arch={ARCHITECTURES[machine]}"
    what = ("--foreign", architecture, "--variant=minbase", "--include=python3", RELEASE)
    if subprocess.run(["debootstrap", *what, str(root)], check=False).returncode != 0:
        raise BaseError("debootstrap failed: see above")
    for name, minor in _DEVICES:
        path = root / "dev" / name
        if not path.exists():
            os.mknod(path, 0o20666, os.makedev(1, minor))
    for name in ("proc", "sys"):
        folder = root / name
        if folder.is_symlink():
            folder.unlink()
        folder.mkdir(exist_ok=True)
    mknod = root / "usr" / "local" / "sbin" / "mknod"
    mknod.parent.mkdir(parents=True, exist_ok=True)
    mknod.write_text("#!/bin/sh\nexit 0\n")
    mknod.chmod(0o755)
    # The disk need not survive a power cut, and synchronising every file takes most of the time.
    settings = root / "etc" / "dpkg" / "dpkg.cfg.d"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "unsafe-io").write_text("force-unsafe-io\n")


def configure(root: Path, machine: str) -> None:
    """Run the packages' own scripts, in namespaces of their own; emulated where they have to be."""
    command = ["sh", "-c", _SECOND_STAGE, "second-stage", str(root)]
    foreign = machine != os.uname().machine
    prefix = [machine] if foreign else ["unshare", "--mount"]
    result = emulation.run([*prefix, *command], {}, _SECONDS)
    if result.returncode != 0:
        raise BaseError(f"debootstrap's second stage failed:\n{result.stdout[-2000:]}")
    (root / "etc" / "dpkg" / "dpkg.cfg.d" / "unsafe-io").unlink()


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("machine", choices=ARCHITECTURES)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    if why := emulation.obstacle(given.machine):
        sys.exit(f"error: {why}")
    out = given.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".base-") as scratch:
        root = Path(scratch, "root")
        try:
            unpack(root, given.machine)
            configure(root, given.machine)
        except BaseError as error:
            sys.exit(f"error: {error}")
        excluded = [f"--exclude={pattern}" for pattern in (*_LEFT_OUT, *_CACHES)]
        draft = Path(scratch, "base.tar")
        packed = ["tar", "--numeric-owner", *excluded, "-C", str(root), "-cf", str(draft), "."]
        subprocess.run(packed, check=True)
        draft.rename(out)


if __name__ == "__main__":
    main()
