"""Lays out what the image has besides its base: `assemble.py CONTEXT OUT`, run by the Dockerfile.

The plugin and its dependencies are unpacked from the one file that `make executable` builds, for
the Python that runs this, and compiled; so nothing is downloaded, and nothing is unpacked at the
start of a pod. The vendor's files go where the plugin looks for them.
"""

import compileall
import py_compile
import re
import shutil
import sys
import zipfile
from collections.abc import Iterable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath

import sbom

SITE = "usr/lib/tee-device-plugin/site"
LAUNCHER = "vendor/bin/tee-device-plugin"
LIBRARIES = "usr/lib64"
TRUSTED_APPLICATIONS = "data"
LIMITS = "usr/share/tee-device-plugin/limits"
SBOM = "usr/share/tee-device-plugin/sbom.cdx.json"

_PACKED = PurePosixPath("site-packages")
_UNUSED = {"bin", "__pycache__"}
_TAGGED = re.compile(r"(.+)\.cpython-[^.]*\.so")

_LAUNCHER_TEXT = """\
#!{python} -I
import sys
sys.path.insert(0, "/{site}")
from teeplugin.__main__ import run
sys.exit(run())
"""


class AssemblyError(Exception):
    """The image can't be made of these files: one line that says why, and what to do."""


def unpack(executable: Path, site: Path) -> None:
    """Unpack the packages of the one-file executable, with this Python's extension modules only.

    Raises:
        AssemblyError: it is no such file, or has nothing for this Python and machine.
    """
    try:
        with zipfile.ZipFile(executable) as archive:
            names = [name for name in archive.namelist() if _is_wanted(PurePosixPath(name))]
            archive.extractall(site, names)
    except (OSError, zipfile.BadZipFile) as error:
        raise AssemblyError(f"{executable.name}: {error}: build it with make executable") from None
    packages = site / _PACKED
    if not (packages / "teeplugin").is_dir():
        raise AssemblyError(f"{executable.name}: has no teeplugin: build it with make executable")
    drop_foreign_modules(packages)
    for entry in packages.iterdir():
        entry.rename(site / entry.name)
    packages.rmdir()


def _is_wanted(path: PurePosixPath) -> bool:
    return path.is_relative_to(_PACKED) and not _UNUSED & set(path.parts)


def drop_foreign_modules(packages: Path) -> None:
    """Remove the extension modules of other Pythons and machines.

    Raises:
        AssemblyError: there is none of a module for this one.
    """
    missing = set()
    for module in sorted(packages.rglob("*.so")):
        if tagged := _TAGGED.fullmatch(module.name):
            ours = [module.with_name(tagged[1] + suffix) for suffix in EXTENSION_SUFFIXES]
            if not any(path.exists() for path in ours):
                missing.add(tagged[1])
            if module not in ours:
                module.unlink()
    if missing:
        raise AssemblyError(
            f"the executable has no {', '.join(sorted(missing))} for files that end in "
            f"{EXTENSION_SUFFIXES[0]}: build it anew with make executable, or take a base "
            "with another Python"
        )


def compile_all(site: Path, out: Path) -> None:
    """Compile all modules; the files are never changed, so nothing is compared at the start."""
    done = compileall.compile_dir(
        site,
        quiet=1,
        stripdir=str(out),
        prependdir="/",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    if not done:
        raise AssemblyError("a module of the executable can't be compiled: see above")


def write_launcher(out: Path) -> None:
    """Write the program that manifests and the original's users call by its path."""
    launcher = out / LAUNCHER
    launcher.parent.mkdir(parents=True)
    launcher.write_text(_LAUNCHER_TEXT.format(python=sys.executable, site=SITE))
    launcher.chmod(0o755)


def copy_files(context: Path, out: Path) -> list[str]:
    """Copy the vendor's files and the entry point; their paths below `out`."""
    copied = [
        *_copied(context.glob("*.so*"), out / LIBRARIES, 0o755),
        *_copied(context.glob("*.sec"), out / TRUSTED_APPLICATIONS, 0o644),
        *_copied(context.glob("tlogcat"), out / "usr/bin", 0o755),
        # For the nodes, onto which an init container puts them.
        *_copied(context.glob("tee-limit"), out / LIMITS, 0o755),
        *_copied(context.glob("tee-limit.*"), out / LIMITS, 0o644),
        *_copied(context.glob("limits.sh"), out / LIMITS, 0o755),
    ]
    _copied([context / "entrypoint.sh"], out, 0o755)
    # Not every base's loader looks there, as openEuler's does.
    loader = out / "etc/ld.so.conf.d/tee-device-plugin.conf"
    loader.parent.mkdir(parents=True)
    loader.write_text(f"/{LIBRARIES}\n")
    return [str(path.relative_to(out)) for path in copied]


def _copied(files: Iterable[Path], folder: Path, mode: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    copied = []
    for file in sorted(files):
        copy = folder / file.name
        shutil.copyfile(file, copy)
        copy.chmod(mode)
        copied.append(copy)
    return copied


def assemble(context: Path, out: Path) -> None:
    """Lay all of it out below `out`."""
    site = out / SITE
    site.mkdir(parents=True)
    unpack(context / "tee-device-plugin", site)
    compile_all(site, out)
    write_launcher(out)
    files = copy_files(context, out)
    bill = out / SBOM
    bill.parent.mkdir(parents=True, exist_ok=True)
    bill.write_text(sbom.cyclonedx(site, {f"/{name}": out / name for name in files}))


def main() -> None:
    """Do it, and say in one line why not."""
    context, out = map(Path, sys.argv[1:])
    try:
        assemble(context, out)
    except AssemblyError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
