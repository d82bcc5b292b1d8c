"""The version of what is built: hatchling asks for it, and writes it into what it builds.

A commit that is tagged `v` and the version of `teeplugin/__init__.py` is that release. Any other
says what it is in a local version: `0.1.0+12.g3f2a1b9c0d4e`, 12 commits after the tag, or after the
beginning while there is no such tag; `.dirty` where files were changed since. Without git, as in a
source distribution, it is the version that the file names.
"""

import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = Path(__file__).resolve().parent
NAMED_IN: Final = "teeplugin/__init__.py"
UNKNOWN: Final = "unknown"
"""The local version where there is a repository, but git can't read it."""

_LINE = re.compile(r'^__version__ = "(.+)"$', re.MULTILINE)
_ABBREVIATED: Final = 12
_SECONDS: Final = 60


def version(root: Path = ROOT) -> str:
    """Give the version of what is in this folder."""
    match = _LINE.search((root / NAMED_IN).read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(f"{NAMED_IN} has no line __version__ = ...")
    # A repository further up isn't ours: an unpacked release may lie in anyone's.
    if not (root / ".git").exists():
        return match[1]
    # What was unpacked from a build and put into a repository names a local version already.
    release, _, _ = match[1].partition("+")
    try:
        local = _local_version(root, f"v{release}")
    except (OSError, subprocess.SubprocessError):
        local = UNKNOWN
    return f"{release}+{local}" if local else release


def _local_version(root: Path, tag: str) -> str:
    """Say which commit this is; nothing where it is the tagged one."""
    how = ("--always", "--long", "--dirty", "--tags", f"--match={tag}")
    found = _git(root, "describe", *how, f"--abbrev={_ABBREVIATED}")
    clean, dirty, _ = found.partition("-dirty")
    if clean.startswith(f"{tag}-"):
        count, commit = clean.removeprefix(f"{tag}-").split("-")
    else:
        count, commit = _git(root, "rev-list", "--count", "HEAD"), f"g{clean}"
    if count == "0" and not dirty:
        return ""
    return f"{count}.{commit}{dirty.replace('-', '.')}"


def _git(root: Path, *words: str) -> str:
    # It may run beside others in this repository: it takes no lock.
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, check=True
    ).stdout.strip()


class VersionHook(BuildHookInterface[Any]):
    """Has `teeplugin.__version__` of what is built say the same as its metadata.

    The line is replaced, so that no start has to look anywhere for the version.
    """

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the changed file in place of ours; an editable install is the checkout as it is."""
        if version == "editable":
            return
        source = Path(self.root, NAMED_IN)
        built = f'__version__ = "{self.metadata.version}"'
        text = _LINE.sub(built, source.read_text(encoding="utf-8"))
        self._scratch = tempfile.TemporaryDirectory(prefix="teeplugin-version-")
        changed = Path(self._scratch.name, source.name)
        changed.write_text(text, encoding="utf-8")
        changed.chmod(source.stat().st_mode)
        build_data["force_include"][str(changed)] = NAMED_IN

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the changed file; it is packed by now."""
        del build_data, artifact_path
        if version != "editable":
            self._scratch.cleanup()
