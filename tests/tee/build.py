"""Builds the test libteec and the programs around it; its fixtures and the backend's tests use it.

The rules are the Makefiles'; this module only runs make and names what it leaves.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from teeplugin_backends.libteec.helper import passwd_name

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

SAMPLE_UUID = "e3d37f4a-f24c-48d0-8884-3bdd6c44e988"
CA_PATH = "/vendor/bin/tee-device-plugin"
USER = passwd_name(os.geteuid()) or ""
"""The name that iTrustee knows the user of the tests by; empty where /etc/passwd has none."""

COMPILERS = {"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"}
# Programs of the other architecture find their C library there.
_AARCH64_ROOT = Path("/usr/aarch64-linux-gnu")
_MAKE_SECONDS = 300
_RUN_SECONDS = 60


class BuildError(Exception):
    """The compiler refused; the message is what make said."""


@dataclass(frozen=True)
class Built:
    """Where everything is that one build left."""

    directory: Path
    cc: str
    itrustee: Path
    """iTrustee's flavour, `libteec.so` without a soname."""
    optee: Path
    """OP-TEE's, `libteec.so.2`."""
    optee_1: Path
    """OP-TEE's up to 4.1.0, `libteec.so.1`."""
    missing_symbol: Mapping[str, Path]
    """By flavour: a library without TEEC_InvokeCommand."""
    missing_dependency: Mapping[str, Path]
    """By flavour: a library that needs a libboundscheck.so that isn't there."""
    libteememca: Path
    layout: Mapping[str, Path]
    """By flavour: the program that prints sizes, offsets and constants."""
    driver: Path
    """A client that loads libteememca.so and prints its figures."""
    foreign_layout: Path
    """A client that lays its operation out iTrustee's way, whichever library it is given."""
    ta_driver: Path
    """Calls the trusted application without a client's library between."""
    misuse: Mapping[str, Path]
    """By flavour: a client that does one named thing right or wrong."""

    def library(self, flavour: str) -> Path:
        """The working library of a flavour, `itrustee` or `optee`."""
        return {"itrustee": self.itrustee, "optee": self.optee}[flavour]


def make(directory: Path, arguments: Iterable[str]) -> str:
    """Run make in a folder and return what it printed."""
    # A make that runs the tests must not hand its own flags and job server down.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    result = subprocess.run(
        ["make", "--no-print-directory", "-j4", "-C", str(directory), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_MAKE_SECONDS,
        check=False,
    )
    if result.returncode != 0:
        raise BuildError(f"make -C {directory} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def build(directory: Path, cc: str = "gcc", sanitizers: Iterable[str] = ()) -> Built:
    """Build everything into a directory; what is there and up to date is kept."""
    directory = directory.resolve()
    sanitize = ",".join(sanitizers)
    settings = [f"OUT={directory}", f"CC={cc}", f"SANITIZE={sanitize}"]
    # The TA's own allowlist has root alone.
    callers = [] if USER == "root" else [f'CALLERS=X("{CA_PATH}", "{USER}")']
    make(HERE, [*settings, *callers])
    make(ROOT / "ca", [*settings, f"OBJ={directory}/obj/ca"])
    flavours = {"itrustee": "itrustee/libteec.so", "optee": "optee/libteec.so.2"}
    return Built(
        directory=directory,
        cc=cc,
        itrustee=directory / flavours["itrustee"],
        optee=directory / flavours["optee"],
        optee_1=directory / "optee" / "libteec.so.1",
        missing_symbol={
            name: directory / "missing-symbol" / path for name, path in flavours.items()
        },
        missing_dependency={
            name: directory / "missing-dependency" / path for name, path in flavours.items()
        },
        libteememca=directory / "libteememca.so",
        layout={name: directory / f"layout-{name}" for name in flavours},
        driver=directory / "driver",
        foreign_layout=directory / "foreign_layout",
        ta_driver=directory / "ta_driver",
        misuse={name: directory / f"misuse-{name}" for name in flavours},
    )


def runner(arch: str) -> list[str]:
    """The command that runs programs of an architecture on this machine; empty for its own."""
    if arch == os.uname().machine:
        return []
    emulator = shutil.which(f"qemu-{arch}") or shutil.which(f"qemu-{arch}-static")
    if emulator is None:
        raise FileNotFoundError(f"qemu-{arch} is missing (Debian package qemu-user)")
    return [emulator, "-L", str(_AARCH64_ROOT)] if arch == "aarch64" else [emulator]


def layout(vendor: str, arch: str, directory: Path) -> dict[str, int]:
    """What the compiler makes of a vendor's client API, by the line without its number.

    Keys are `sizeof NAME`, `offsetof NAME.member` and `const NAME`.
    """
    directory = (directory / f"layout-{arch}").resolve()
    program = directory / f"layout-{vendor}"
    make(HERE, [f"OUT={directory}", f"CC={COMPILERS[arch]}", str(program)])
    lines = subprocess.run(
        [*runner(arch), str(program)],
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=True,
    ).stdout.splitlines()
    return {name: int(number) for name, number in (line.rsplit(" ", 1) for line in lines)}


def write_state(path: Path, **keys: object) -> Path:
    """Tell the test library what to be; a reader never sees half a file."""
    text = "".join(f"{key}={_text(value)}\n" for key, value in keys.items())
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
    return path


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def write_signed(path: Path, content: bytes = b"signed") -> Path:
    """Make a file that iTrustee's library reads as a signed one."""
    path.write_bytes(struct.pack("<IHHII", 0xA5A55A5A, 0x55AA, 4, len(content), 0) + content)
    return path


def read_log(path: Path, event: str | None = None) -> list[dict[str, str]]:
    """The test library's record: one object a line, all of them or those of one event."""
    if not path.exists():
        return []
    # A line that is being written has no end yet.
    whole, _, _ = os.fsdecode(path.read_bytes()).rpartition("\n")
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line for line in lines if event is None or line["event"] == event]
