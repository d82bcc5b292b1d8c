"""Builds the plugin as one file: `python deploy/executable/build.py OUT`, run by `nox -s package`.

The file runs on every CPython from 3.11 on for which its extension modules have wheels, on both
architectures: the modules of different Pythons have different names and lie side by side.
"""

import argparse
import hashlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = ROOT / "deploy" / "docker" / "requirements.txt"
"""Every dependency, in the one version whose files have these hashes: nox -s requirements."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
ARCHITECTURES = ("x86_64", "aarch64")
# What openEuler 22.03's C library can load, and with it every newer one.
PLATFORMS = ("manylinux_2_17", "manylinux2014", "manylinux_2_28", "manylinux_2_34")


def pip(*arguments: str) -> None:
    """Run this Python's pip, quietly."""
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def extension_packages(site: Path) -> Iterator[str]:
    """Give the pins, with hashes, of the installed distributions that have extension modules."""
    lines = re.MULTILINE | re.DOTALL
    pins = re.findall(r"^(([\w-]+)==.*?)(?=^\S|\Z)", REQUIREMENTS.read_text(), lines)
    by_name = {name: pin for pin, name in pins}
    for record in sorted(site.glob("*.dist-info/RECORD")):
        if any(line.partition(",")[0].endswith(".so") for line in record.read_text().splitlines()):
            yield by_name[record.parent.name.partition("-")[0].replace("_", "-").lower()]


def add_extension_modules(site: Path, pins: str, python: str, architecture: str) -> bool:
    """Lay the extension modules of another Python or architecture beside those that are there."""
    with tempfile.TemporaryDirectory() as scratch:
        listed = Path(scratch, "requirements.txt")
        listed.write_text(pins)
        platforms = [f"--platform={platform}_{architecture}" for platform in PLATFORMS]
        wanted = ("--no-deps", "--only-binary=:all:", f"--python-version={python}", *platforms)
        pinned = ("--require-hashes", f"--requirement={listed}")
        try:
            pip("download", f"--dest={scratch}", "--implementation=cp", *wanted, *pinned)
        except subprocess.CalledProcessError:
            return False
        for wheel in Path(scratch).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                modules = [name for name in archive.namelist() if name.endswith(".so")]
                archive.extractall(site, modules)
    return True


def install(site: Path, wheel: Path | None) -> None:
    """Install the plugin and all that it needs, with nothing that tells of this machine or day."""
    plain = ("install", "--no-compile", f"--target={site}")
    pip(*plain, "--require-hashes", f"--requirement={REQUIREMENTS}")
    # Scripts begin with this Python's path, and nothing calls them.
    shutil.rmtree(site / "bin", ignore_errors=True)
    with tempfile.TemporaryDirectory() as wheels:
        if wheel is None:
            pip("wheel", "--no-deps", f"--wheel-dir={wheels}", str(ROOT))
        else:
            shutil.copy(wheel, wheels)
        # By its name: of what is installed by a path, pip records the path.
        pip(*plain, "--no-deps", "--no-index", f"--find-links={wheels}", "teeplugin")
    shutil.rmtree(site / "bin", ignore_errors=True)
    for record in site.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if not re.match(r"(\.\./)*bin/", line)))


def packed(site: Path) -> bytes:
    """Make the zip archive; the same files give the same bytes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packing:
        packing.writestr(zipfile.ZipInfo("__main__.py"), (HERE / "unpack.py").read_bytes())
        for path in sorted(site.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(f"site-packages/{path.relative_to(site)}")
                entry.compress_type = zipfile.ZIP_DEFLATED
                packing.writestr(entry, path.read_bytes())
    return archive.getvalue()


def write(out: Path, archive: bytes) -> None:
    """Write the executable: the header, which knows the build's folder, and the archive."""
    build_id = hashlib.sha256(archive).hexdigest()[:16]
    header = (HERE / "header.sh").read_text().replace("@BUILD@", build_id)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(header.encode() + archive)
    out.chmod(0o755)


def build(out: Path, wheel: Path | None = None) -> list[str]:
    """Build the file, with this wheel or one of the checkout; what it can't serve, in words."""
    gaps = []
    with tempfile.TemporaryDirectory() as scratch:
        site = Path(scratch)
        install(site, wheel)
        pins = list(extension_packages(site))
        for python in PYTHONS:
            for architecture in ARCHITECTURES:
                # All at once, and one by one only where something is missing, to name it.
                if add_extension_modules(site, "".join(pins), python, architecture):
                    continue
                gaps += [
                    f"Python {python} on {architecture} lacks {pin.partition(' ')[0]}"
                    for pin in pins
                    if not add_extension_modules(site, pin, python, architecture)
                ]
        write(out, packed(site))
    return gaps


def main() -> None:
    """Build it, and say what it can't serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wheel", type=Path, help="the plugin's; by default one is built")
    given = parser.parse_args()
    out = given.out
    for gap in build(out, given.wheel):
        sys.stderr.write(f"note: {gap}\n")
    sys.stderr.write(f"built {out}, {out.stat().st_size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
