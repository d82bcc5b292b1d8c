"""The backend keeps the promises of every backend, and reads its own program's answers."""

import asyncio
from pathlib import Path

import pytest

from acme_tee import AcmeTee, backend
from teeplugin_backends.base import (
    BadReply,
    Busy,
    ContainerAccess,
    Device,
    Exhausted,
    Refused,
    TeeError,
    TeeMemory,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.conformance import BackendConformance

FAULTS = {
    Unreachable: "echo no driver >&2; exit 2",
    Refused: "echo not for you >&2; exit 3",
    Busy: "echo all sessions taken >&2; exit 4",
    Exhausted: "echo no memory >&2; exit 5",
    BadReply: "echo total unknown",
    TimedOut: "sleep 1000",
}


def play(tool: Path, script: str) -> None:
    """Have the program be this script; one that runs is not disturbed."""
    fresh = tool.with_name("fresh")
    fresh.write_text(f"#!/bin/sh\n{script}\n")
    fresh.chmod(0o755)
    fresh.rename(tool)


class TestAcmeTee(BackendConformance):
    backend = AcmeTee
    name = "acme"
    kinds = tuple(FAULTS)
    bad_options = ({"command": "acme-tee"}, {"device": "acme"})
    expected_memory = TeeMemory(total_bytes=1 << 30, free_bytes=1 << 29)
    expected_access = ContainerAccess(
        devices=(Device("/dev/acme-tee", "/dev/acme-tee", "rw"),),
        environment={"ACME_TEE_DEVICE": "/dev/acme-tee"},
    )

    @pytest.fixture(autouse=True)
    def played(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tool, self.monkeypatch = tmp_path / "acme-tee", monkeypatch

    def options(self) -> dict[str, str]:
        return {"command": str(self.tool)}

    def tee_is_well(self) -> None:
        self.limit(9)
        play(self.tool, "echo total 1073741824; echo free 536870912")

    def tee_fails(self, kind: type[TeeError]) -> None:
        self.limit(0.3 if kind is TimedOut else 9)
        play(self.tool, FAULTS[kind])

    def tee_hangs(self) -> None:
        self.limit(9)
        play(self.tool, "sleep 1000; true")

    def limit(self, seconds: float) -> None:
        self.monkeypatch.setattr(backend, "ANSWER_SECONDS", seconds)


def fault(tool: Path) -> TeeError:
    with pytest.raises(TeeError) as caught:
        asyncio.run(AcmeTee.from_options({"command": str(tool)}).memory())
    return caught.value


@pytest.mark.parametrize(
    "script",
    [
        "true",
        "echo free 1; echo total 2",
        "echo total 1; echo free 2",
        "echo total 0; echo free 0",
        "echo total 2; echo free 1; exit 1",
        "kill -SEGV $$",
        "yes",
    ],
)
def test_what_is_no_reading_is_a_bad_reply(script: str, tmp_path: Path) -> None:
    tool = tmp_path / "acme-tee"
    play(tool, script)
    assert isinstance(fault(tool), BadReply)


def test_a_program_that_isnt_there_is_told_with_the_way_to_name_another(tmp_path: Path) -> None:
    error = fault(tmp_path / "acme-tee")
    assert isinstance(error, Unreachable)
    assert "command=" in error.fix


def test_a_program_that_may_not_be_run_is_a_bad_reply(tmp_path: Path) -> None:
    (tmp_path / "acme-tee").touch(mode=0o644)
    assert "Permission denied" in str(fault(tmp_path / "acme-tee"))
