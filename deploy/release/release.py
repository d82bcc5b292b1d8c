"""Builds a release into a folder: `python deploy/release/release.py OUT`, run by `nox -s release`.

    teeplugin-VERSION.tar.gz                 the sources
    teeplugin-VERSION-py3-none-any.whl       for pip
    tee-device-plugin-VERSION                the one-file executable, for both machines
    tee-device-plugin-VERSION.cdx.json       its bill of materials
    tee-device-plugin-VERSION.tgz            the Helm chart
    tee-device-plugin-VERSION-MACHINE.oci.tar and .cdx.json   the image for a machine, and its bill
    SHA256SUMS

All times in them are the commit's. The same commit, tools and base make the same bytes.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import chart
import contents
import images

ROOT: Final = Path(__file__).resolve().parents[2]
EPOCH_WITHOUT_GIT: Final = 1577836800
"""2020-01-01: an unpacked archive doesn't say when its commit was made."""

SUMS: Final = "SHA256SUMS"
_NAME: Final = "tee-device-plugin"


class ReleaseError(Exception):
    """There is no release: why, and what to do."""


def epoch(root: Path) -> int:
    """Give the time of the commit, in seconds since 1970."""
    if not (root / ".git").exists():
        return EPOCH_WITHOUT_GIT
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Run a program that is to succeed; its output."""
    result = subprocess.run(
        list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        raise ReleaseError(f"{' '.join(map(str, command))} failed: see above")
    return result.stdout


def clear(out: Path) -> Path:
    """Make the folder, or remove what an earlier release left in it.

    Raises:
        ReleaseError: it holds something else, which isn't ours to remove, nor to be published.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(out.iterdir()):
        if not path.name.startswith(("teeplugin-", f"{_NAME}-", SUMS)):
            raise ReleaseError(f"{out} holds {path.name}: move it, or name another folder")
        path.unlink()
    return out


def build_packages(out: Path) -> tuple[Path, Path]:
    """Build the source distribution, and from that, as others would, the wheel.

    Raises:
        ReleaseError: something is missing in one of them, or too much.
    """
    build = (sys.executable, "-m", "hatchling", "build", "--directory", out)
    run(*build, "--target", "sdist")
    (sdist,) = out.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(sdist) as archive:
            archive.extractall(scratch, filter="data")
        (unpacked,) = Path(scratch).iterdir()
        run(*build, "--target", "wheel", folder=unpacked)
    (wheel,) = out.glob("*.whl")
    if found := list(contents.problems(ROOT, sdist, wheel)):
        raise ReleaseError("\n  ".join(["the packages aren't what they should be:", *found]))
    return sdist, wheel


def build_executable(out: Path, wheel: Path, version: str) -> Path:
    """Build the executable and its bill, and have it show what it can."""
    executable = out / f"{_NAME}-{version}"
    script = ROOT / "deploy" / "executable" / "build.py"
    run(sys.executable, script, executable, "--wheel", wheel)
    told = run(executable, "--version").strip()
    if told != f"{_NAME} {version}":
        raise ReleaseError(f"{executable.name} says it is {told}")
    run(executable, "simulate")
    bill = run(sys.executable, ROOT / "deploy" / "docker" / "sbom.py", executable)
    executable.with_name(f"{executable.name}.cdx.json").write_text(bill)
    return executable


def build_image(executable: Path, machine: str, base: str, tars: dict[str, Path]) -> None:
    """Build the image for a machine and its bill, and try the executable in it."""
    scratch = ROOT / "build"
    scratch.mkdir(exist_ok=True)
    # On the disk of the checkout: buildah's copies of the base take gigabytes.
    with tempfile.TemporaryDirectory(prefix="image-", dir=scratch) as directory:
        builder = images.Builder(machine, Path(directory), int(os.environ["SOURCE_DATE_EPOCH"]))
        found = builder.import_base(tars[machine]) if machine in tars else base
        version = executable.name.removeprefix(f"{_NAME}-")
        # Tags have no plus sign.
        name = f"localhost/{_NAME}:{version.replace('+', '-')}"
        builder.build(name, found, executable)
        builder.try_out(name, executable)
        say(f"{machine}: the executable ran simulate in the image")
        target = executable.with_name(f"{executable.name}-{machine}")
        target.with_name(f"{target.name}.cdx.json").write_bytes(builder.file(name, images.SBOM))
        builder.write_archive(name, target.with_name(f"{target.name}.oci.tar"))


def write_sums(out: Path) -> None:
    """Write what `sha256sum --check` reads."""
    files = sorted(path for path in out.iterdir() if path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / SUMS).write_text("".join(lines))


def obstacles(machines: list[str]) -> Iterator[str]:
    """Say why images can't be built here, before anything that takes long."""
    for machine in machines:
        if why := images.obstacle(machine):
            yield f"no image for {machine}: {why}"


def release(given: argparse.Namespace) -> None:
    """Build all of it.

    Raises:
        ReleaseError: a part can't be built, or isn't what it should be.
        images.ImageError: likewise.
    """
    machines = [] if given.no_image else given.machine or list(images.MACHINES)
    if found := list(obstacles(machines)):
        raise ReleaseError(f"{'; '.join(found)}; or leave images out: -- --no-image")
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch(ROOT))
    out = clear(given.out.resolve())
    _, wheel = build_packages(out)
    version = wheel.name.split("-")[1]
    executable = build_executable(out, wheel, version)
    chart.pack(ROOT / "deploy" / "chart", out, version, epoch(ROOT))
    for machine in machines:
        build_image(executable, machine, given.base, dict(given.base_tar))
    write_sums(out)
    say(f"built {len(list(out.iterdir()))} files in {out}")


def say(line: str) -> None:
    """Tell the one who waits."""
    sys.stderr.write(f"{line}\n")


def default_base() -> str:
    """Give the base that the Dockerfile names."""
    match = re.search(r"^ARG BASE=(\S+)$", (images.DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert match is not None  # noqa: S101 - tests/deploy reads the same line
    return match[1]


def machine_and_file(word: str) -> tuple[str, Path]:
    """Read MACHINE=FILE."""
    machine, _, file = word.partition("=")
    if machine not in images.MACHINES or not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"{word}: give {' or '.join(images.MACHINES)}=FILE")
    return machine, Path(file)


def main() -> None:
    """Build a release, and say in few words why not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--no-image", action="store_true", help="leave the images out")
    parser.add_argument(
        "--machine", action="append", choices=images.MACHINES, help="by default all"
    )
    parser.add_argument("--base", default=default_base(), help="the image's base (%(default)s)")
    parser.add_argument(
        "--base-tar",
        action="append",
        default=[],
        type=machine_and_file,
        metavar="MACHINE=FILE",
        help="a root file system that is the base for this machine, in place of --base",
    )
    try:
        release(parser.parse_args())
    except (ReleaseError, images.ImageError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
