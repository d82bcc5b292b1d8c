"""Runs commands whose programs may be for aarch64, emulated by qemu.

The kernel hands foreign programs to an emulator that is registered with binfmt_misc. Since Linux
6.7 each user namespace has registrations of its own, so the machine's stay as they are.
"""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

MACHINE: Final = "aarch64"
PROGRAM: Final = "qemu-aarch64-static"

# ELF, 64 bits, little-endian, an executable or a shared object, for EM_AARCH64.
_MAGIC: Final = r"\x7fELF\x02\x01\x01" + 9 * r"\x00" + r"\x02\x00\xb7\x00"
_MASK: Final = 7 * r"\xff" + r"\x00" + 8 * r"\xff" + r"\xfe\xff\xff\xff"
# F: opened at once, as containers don't have it. P: programs keep the name they were called by.
_FLAGS: Final = "FP"

_MOUNT_POINT: Final = "/proc/sys/fs/binfmt_misc"
_SCRIPT: Final = f"""\
read -r _
exec </dev/null
mount -t binfmt_misc binfmt_misc {_MOUNT_POINT} || exit 97
printf %s "$1" >{_MOUNT_POINT}/register || exit 97
shift
exec "$@"
"""
_SECONDS_TO_ENTER: Final = 10


def obstacle(machine: str) -> str:
    """Say why programs for this machine can't run here; empty if they can."""
    if machine == platform.machine():
        return ""
    if machine != MACHINE:
        return f"there is no emulation of {machine} here, only of {MACHINE}"
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is missing: install Debian's qemu-user-static"
    if run([MACHINE, "true"], {}, 60).returncode != 0:
        return "emulators can't be registered here: it takes root and Linux 6.7 or newer"
    return ""


def run(
    command: Sequence[str], variables: Mapping[str, str], seconds: float
) -> subprocess.CompletedProcess[str]:
    """Run a command; if its first word is a foreign machine, run the rest with its emulator."""
    environment = os.environ | dict(variables)
    machine, *rest = command
    if machine != MACHINE:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    words = ["unshare", "--user", "--mount", "sh", "-c", _SCRIPT, "emulated", _registration()]
    with subprocess.Popen(
        [*words, *rest],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            _map_all_users(process.pid)
            output, _ = process.communicate("\n", timeout=seconds)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, output, "")


def _registration() -> str:
    return f":{PROGRAM}:M::{_MAGIC}:{_MASK}:{shutil.which(PROGRAM)}:{_FLAGS}"


def _map_all_users(pid: int) -> None:
    """Give the process's new namespace every user and group of ours: an image has many."""
    ours = Path("/proc/self/ns/user").readlink()
    deadline = time.monotonic() + _SECONDS_TO_ENTER
    while Path(f"/proc/{pid}/ns/user").readlink() == ours:
        if time.monotonic() > deadline:
            raise TimeoutError("unshare --user: no namespace after 10 s")
        time.sleep(0.01)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{kind}").write_text("0 0 4294967295\n")
