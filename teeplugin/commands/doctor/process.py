"""Finds out with which settings the running plugin was started, from its process."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from teeplugin.cli.console import PROGRAM
from teeplugin.commands.doctor.evidence import RunningProcess
from teeplugin.config.go_flags import read_flags
from teeplugin.config.settings import ConfigError, Settings
from teeplugin.config.sources import load

_MODULE = "teeplugin"
"""As which the program runs with `python -m`."""


def look_at_process(pids: Iterable[int], resource_name: str) -> RunningProcess | None:
    """Find the plugin of this resource among the processes, or else any plugin that is seen."""
    found = []
    for pid in pids:
        flags = _flags(_zero_ended(pid, "cmdline"))
        if flags is not None:
            found.append(RunningProcess(pid, flags, _settings(pid, flags)))
    ours = (one for one in found if one.settings and one.settings.resource_name == resource_name)
    return next(ours, found[0] if found else None)


def _flags(words: list[str]) -> list[str] | None:
    """What stands behind the program's name; None if it isn't this program."""
    for place, word in enumerate(words):
        if Path(word).name in (PROGRAM, _MODULE):
            return words[place + 1 :]
    return None


def _settings(pid: int, flags: list[str]) -> Settings | None:
    """Read its settings as it did, unless it sees other files than we do."""
    pairs = (pair.partition("=") for pair in _zero_ended(pid, "environ"))
    environ: Mapping[str, str] = {name: value for name, _, value in pairs}
    if not environ or not _same_place(pid):
        return None
    try:
        return load(read_flags(flags, {}).values, environ).settings
    except ConfigError:
        return None


def _same_place(pid: int) -> bool:
    """Whether paths mean the same to it and to us."""
    try:
        return len({os.readlink(f"/proc/{process}/ns/mnt") for process in ("self", pid)}) == 1  # noqa: PTH115 - Path.readlink would try to make sense of mnt:[4026531840]
    except OSError:
        return False


def _zero_ended(pid: int, name: str) -> list[str]:
    """The texts of one of the kernel's files; none if it can't be read."""
    try:
        content = Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(text) for text in content.split(b"\0")[:-1]]
