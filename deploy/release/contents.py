"""Checks that a source distribution and a wheel have all that belongs there, and nothing else."""

import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

PACKAGES: Final = ("teeplugin", "teeplugin_backends")
_OF_THE_BUILD: Final = {"PKG-INFO"}
_NOT_SHIPPED: Final = {".ci"}
_STRAY_AT_TOP: Final = {".ci", ".git", ".nox", ".venv", "build", "dist", "pkg"}
_STRAY_SUFFIXES: Final = (".pyc", ".so", ".sec")


def source_files(sdist: Path) -> set[str]:
    """Give the files of a source distribution, by their paths in it."""
    with tarfile.open(sdist) as archive:
        names = [PurePosixPath(member.name) for member in archive if not member.isdir()]
    return {str(PurePosixPath(*name.parts[1:])) for name in names}


def is_stray(name: str) -> bool:
    """Tell whether a file, by its path in a source distribution, was built or is private."""
    parts = PurePosixPath(name).parts
    is_built = "__pycache__" in parts or name.endswith(_STRAY_SUFFIXES)
    return parts[0] in _STRAY_AT_TOP or is_built


def problems(root: Path, sdist: Path, wheel: Path) -> Iterator[str]:
    """Say what is missing or stray, one line each; `root` is the checkout they were built from."""
    packed = source_files(sdist)
    for name in sorted(packed):
        if is_stray(name):
            yield f"{sdist.name} has {name}, which is built or private"
    if (root / ".git").exists():
        kept = {name for name in _tracked(root) if name.split("/")[0] not in _NOT_SHIPPED}
        yield from (f"{sdist.name} lacks {name}" for name in sorted(kept - packed))
        stray = packed - kept - _OF_THE_BUILD
        yield from (f"{sdist.name} has {name}, which git doesn't know" for name in sorted(stray))
    yield from _wheel_problems(packed, wheel)


def _tracked(root: Path) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


def _wheel_problems(sources: set[str], wheel: Path) -> Iterator[str]:
    """The wheel has the packages' files and no others, and its metadata with the licence."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    about = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/"
    wanted = {name for name in sources if name.split("/")[0] in PACKAGES}
    told = {f"{about}{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    told.add(f"{about}licenses/LICENSE")
    yield from (f"{wheel.name} lacks {name}" for name in sorted((wanted | told) - packed))
    yield from (f"{wheel.name} has {name}, a stray" for name in sorted(packed - wanted - told))
