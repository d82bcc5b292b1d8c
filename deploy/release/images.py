"""Builds the image of a release for one machine, as an archive with the same bytes each time."""

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import emulation

DEPLOY: Final = Path(__file__).resolve().parents[1]
DOCKER: Final = DEPLOY / "docker"
MACHINES: Final = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
SBOM: Final = "usr/share/tee-device-plugin/sbom.cdx.json"
HOOK: Final = "/usr/share/tee-device-plugin/limits/tee-limit"
"""In the image, for the nodes; without arguments it says how it is used, and ends with 2."""

_PARTS: Final = ("Dockerfile", ".dockerignore", "assemble.py", "base.sh", "check.sh")
_MORE_PARTS: Final = ("entrypoint.sh", "sbom.py")
_SECONDS: Final = 1800
_BASE: Final = """\
FROM scratch
ADD base.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


class ImageError(Exception):
    """The image can't be built: one line that says why, and what to do."""


def obstacle(machine: str) -> str:
    """Say why no image for this machine can be built here; empty if it can."""
    if shutil.which("buildah") is None:
        return "buildah is missing: install it"
    if os.geteuid() != 0:
        return "buildah needs root here"
    if shutil.which(compiler(machine)) is None:
        return f"the hook's compiler, {compiler(machine)}, is missing: install it"
    return emulation.obstacle(machine)


def compiler(machine: str) -> str:
    """Name the C compiler for a machine, as Debian calls it."""
    return "gcc" if machine == os.uname().machine else f"{machine}-linux-gnu-gcc"


def build_hook(machine: str, folder: Path) -> None:
    """Build tee-limit into a folder: static, and the same bytes wherever the checkout is.

    Raises:
        ImageError: it can't be built.
    """
    command = ["make", "-C", str(DEPLOY.parent / "ca"), f"CC={compiler(machine)}"]
    command += [f"OUT={folder}", f"OBJ={folder / 'objects'}", "LDFLAGS=-s", "hook"]
    # The builder's own flags would change the bytes.
    command += ["CFLAGS=", "SANITIZE="]
    # A make that runs this one has settings of its own.
    variables = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    result = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if result.returncode != 0:
        raise ImageError(
            f"tee-limit for {machine} can't be built:\n{result.stderr.strip()[-3000:]}"
        )
    shutil.rmtree(folder / "objects")


def fill_context(machine: str, folder: Path, executable: Path) -> None:
    """Make a folder of what the image is built from, with nothing that lies about in the checkout.

    Raises:
        ImageError: the hook can't be built.
    """
    folder.mkdir(parents=True)
    units = sorted((DEPLOY / "systemd").glob("tee-limit.*"))
    parts = (DOCKER / part for part in (*_PARTS, *_MORE_PARTS))
    for part in (*parts, DEPLOY / "limits" / "limits.sh", *units):
        shutil.copy(part, folder)
    shutil.copy(executable, folder / "tee-device-plugin")
    build_hook(machine, folder)


@dataclass(frozen=True)
class Builder:
    """A buildah with a storage of its own below `directory`."""

    machine: str
    directory: Path
    epoch: int
    """Seconds since 1970, the time of everything in the image."""

    def buildah(self, *words: str | Path) -> str:
        """Run it, under emulation if the machine isn't this one's; its output.

        Raises:
            ImageError: it failed.
        """
        storage = ("--root", self.directory / "images", "--runroot", self.directory / "run")
        command = ["buildah", "--storage-driver", "vfs", *map(str, (*storage, *words))]
        shown = f"buildah {' '.join(map(str, words))}, for {self.machine},"
        foreign = [] if self.machine == os.uname().machine else [self.machine]
        try:
            result = emulation.run([*foreign, *command], {"BUILDAH_ISOLATION": "chroot"}, _SECONDS)
        except subprocess.TimeoutExpired:
            raise ImageError(f"{shown} timed out") from None
        if result.returncode != 0:
            told = f"{result.stdout}{result.stderr}".strip()[-3000:]
            raise ImageError(f"{shown} failed:\n{told}")
        return result.stdout

    def import_base(self, tar: Path) -> str:
        """Make a base of a root file system's tar file; the base's name."""
        folder = self.directory / "base"
        folder.mkdir(parents=True)
        shutil.copy(tar, folder / "base.tar")
        (folder / "Dockerfile").write_text(_BASE)
        name = "localhost/base:1"
        self._build(name, folder)
        return name

    def build(self, name: str, base: str, executable: Path) -> None:
        """Build the plugin's image on this base."""
        folder = self.directory / "context"
        fill_context(self.machine, folder, executable)
        self._build(name, folder, f"--build-arg=BASE={base}")

    def _build(self, name: str, folder: Path, *words: str) -> None:
        platform = f"--platform={MACHINES[self.machine]}"
        same = (platform, f"--timestamp={self.epoch}", f"--tag={name}")
        self.buildah("build", "--isolation=chroot", "--quiet", *same, *words, folder)

    def try_out(self, name: str, executable: Path) -> None:
        """Run the image's program and hook, and the one-file executable, with the tour.

        Raises:
            ImageError: one of them failed.
        """
        container = self.buildah("from", name).split()[-1]
        self.buildah("run", container, "--", "/vendor/bin/tee-device-plugin", "--print-config")
        self.buildah("run", container, "--", "sh", "-c", f"{HOOK} || [ $? = 2 ]")
        self.buildah("copy", "--quiet", container, executable, "/tried")
        self.buildah("run", container, "--", "/tried", "simulate")
        self.buildah("rm", container)

    def file(self, name: str, path: str) -> bytes:
        """Read a file of an image."""
        container = self.buildah("from", name).split()[-1]
        # The mount is a plain folder with this storage driver, wherever it was made.
        content = Path(self.buildah("mount", container).split()[-1], path).read_bytes()
        self.buildah("rm", container)
        return content

    def write_archive(self, name: str, target: Path) -> None:
        """Write the image as an OCI archive; buildah's own has the time at which it was written."""
        layout = self.directory / "layout"
        self.buildah("push", "--quiet", name, f"oci:{layout}:{name}")
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(layout.rglob("*")):
                entry = archive.gettarinfo(path, str(path.relative_to(layout)))
                entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mtime, entry.mode = self.epoch, 0o755 if path.is_dir() else 0o644
                if path.is_dir():
                    archive.addfile(entry)
                    continue
                with path.open("rb") as content:
                    archive.addfile(entry, content)
