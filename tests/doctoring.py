"""Doctor in the test's own process, on what it really sees or on evidence that is made up."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from teeplugin.commands.doctor.collect import look_around
from teeplugin.commands.doctor.evidence import (
    Answer,
    DirectorySeen,
    Evidence,
    PageSeen,
    PageState,
    PluginStatus,
    RecordedAllocation,
    RecordsSeen,
    SocketsSeen,
)
from teeplugin.commands.doctor.examine import examine
from teeplugin.commands.doctor.model import Report
from teeplugin.config.go_flags import read_flags
from teeplugin.config.sources import FlagValue, load
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.device_list import IdSet
from teeplugin_backends.base import Finding, Result, TeeMemory

MIB = 1024**2
UNIT = 512 * 1024
DIRECTORY = Path("/k/device-plugins")
OURS = DIRECTORY / "tee-ram-0123abcd.sock"
VAULT, SEALER = IdSet.first(10), IdSet.of(range(10, 13))
HELD = {("default", "vault", "ca"): VAULT, ("default", "sealer", "ca"): SEALER}
OLD = DIRECTORY / "tee-ram-ffffffff.sock"


async def examined(*words: object, environ: Mapping[str, str] | None = None) -> Report:
    """The report for these flags of the daemon."""
    evidence = Evidence()
    await look_around(evidence, read_flags([str(word) for word in words], {}).values, environ or {})
    return examine(evidence)


def broken(report: Report, check: str, words: str) -> str:
    """Take it that this is the first check that fails, with these words; its fix."""
    assert report.failures[:1] == (check,), report.summary
    finding = report.of(check)
    assert words in finding.text
    assert finding.fix
    return finding.fix


def warned(report: Report, check: str, words: str) -> str:
    """Take it that this check warns, with these words; its fix."""
    finding = report.of(check)
    assert finding.result is Result.WARNING, finding
    assert words in finding.text
    return finding.fix


def mended(report: Report, check: str) -> None:
    """Take it that this check is ok."""
    finding = report.of(check)
    assert finding.result is Result.OK, finding


def flag_in(fix: str, flag: str) -> list[str]:
    """A flag that a fix names, with its value, as words."""
    found = re.search(rf"{flag} \S+", fix)
    assert found is not None, fix
    return found[0].rstrip(",;").split()


def command_in(fix: str, program: str) -> list[str]:
    """The command of this program that a fix has on a line of its own, as words."""
    found = re.search(rf"^{program}( .*)?$", fix, re.MULTILINE)
    assert found is not None, fix
    return shlex.split(found[0])


# Evidence that is made up


def status(**changes: Any) -> PluginStatus:
    well = PluginStatus(
        resource="huawei.com/tee-ram",
        backend="libteec",
        unit_bytes=UNIT,
        capacity=128,
        allocatable=128,
        allocated=13,
        unhealthy_cause=None,
        trouble=None,
        registered=True,
        not_registered_reason=None,
        settings_problem=None,
        settings_misfit=None,
        settings_waiting={},
    )
    return replace(well, **changes)


def page(**changes: Any) -> PageSeen:
    return PageSeen(PageState.OURS, status(**changes))


def answer(total: int = 64 * MIB, free: int = 64 * MIB, **changes: Any) -> Answer:
    well = Answer(
        reading=TeeMemory(total, free),
        seconds=0.02,
        reserve_bytes=0,
        host_paths=("/dev/tee0",),
        findings=(Finding.ok("library", "/usr/lib64/libteec.so"),),
    )
    return replace(well, **changes)


def evidence(*flags: tuple[str, str], **changes: Any) -> Evidence:
    """What is seen where all is well, but for the changes."""
    well = Evidence(
        loaded=load([FlagValue(key, f"--{key}", text) for key, text in flags], {}),
        backend_found=True,
        directory=DirectorySeen(DIRECTORY, is_writable=True, mode=0o750),
        recorded=(
            RecordedAllocation("ca", IdSet.first(10), UNIT),
            RecordedAllocation("ca", SEALER, UNIT),
        ),
        sockets=SocketsSeen(SocketState.LISTENS, {OURS: SocketState.LISTENS}, (77,)),
        records=RecordsSeen(HELD, 128),
        page=page(),
        answer=answer(),
    )
    for name, value in changes.items():
        assert hasattr(well, name)
        setattr(well, name, value)
    return well


def judged(*flags: tuple[str, str], **changes: Any) -> Report:
    return examine(evidence(*flags, **changes))


def sockets(**changes: Any) -> SocketsSeen:
    well = SocketsSeen(SocketState.LISTENS, {OURS: SocketState.LISTENS}, (77,))
    return replace(well, **changes)


def directory(**changes: Any) -> DirectorySeen:
    return replace(DirectorySeen(DIRECTORY, is_writable=True, mode=0o750), **changes)
