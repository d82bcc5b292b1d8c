"""The backend on the test libteec, in the test's own process: what the tests of it share."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path

import pytest

from teeplugin_backends.base import TeeError, TeeMemory
from teeplugin_backends.libteec import LibTeec, process, teecd
from tests.tee.build import USER, Built, read_log, write_signed, write_state
from tests.tee.teecd import MockTeecd
from tests.waiting import eventually

MIB = 1 << 20
GIB = 1 << 30
CALLS = ["init", "open", "invoke", "close", "finalize"]


def calls_of(vendor: str) -> list[str]:
    """One query's calls: OP-TEE is asked for its own heap as well."""
    more = ["invoke"] if vendor == "optee" else []
    return ["load", *CALLS[:3], *more, *CALLS[3:]]


DEFAULT = TeeMemory(total_bytes=GIB, free_bytes=768 * MIB)


@dataclass(frozen=True)
class Tee:
    """The test libteec and what belongs to it; `play` tells it what to be."""

    built: Built
    directory: Path

    def play(self, **keys: object) -> None:
        write_state(self.directory / "state", **keys)

    def backend(self, vendor: str, **options: str | Path) -> LibTeec:
        library, ta_path = self.built.library(vendor), self.directory / "ours.sec"
        pairs = {"library": library, "ta_path": ta_path, "user": USER, **options}
        return LibTeec.from_options(
            {key.replace("_", "-"): str(text) for key, text in pairs.items()}
        )

    def calls(self) -> list[str]:
        return [line["call"] for line in read_log(self.directory / "log", "call")]

    def pids(self) -> set[int]:
        return {int(line["pid"]) for line in read_log(self.directory / "log")}

    def refusals(self) -> list[str]:
        return [line["why"] for line in read_log(self.directory / "log", "refused")]

    async def no_helper_is_left(self) -> None:
        await eventually(
            "the end of all helpers",
            lambda: [pid for pid in self.pids() if Path(f"/proc/{pid}").exists()],
            until=lambda left: not left,
        )


@pytest.fixture(name="tee")
def made_tee(
    built: Built, running_teecd: MockTeecd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Tee:
    # The helper's environment is fixed: what the test library needs has to be let in.
    monkeypatch.setitem(process._ENVIRONMENT, "TEST_TEE_STATE", str(tmp_path / "state"))
    monkeypatch.setitem(process._ENVIRONMENT, "TEST_TEE_LOG", str(tmp_path / "log"))
    use_teecd(running_teecd, monkeypatch)
    write_signed(tmp_path / "ours.sec")
    return Tee(built, tmp_path)


def use_teecd(running: MockTeecd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have backend and test library go to this one."""
    monkeypatch.setattr(teecd, "SOCKET", str(running.path))
    monkeypatch.setitem(process._ENVIRONMENT, "TEST_TEE_TEECD", str(running.path))


async def fault(asked: Awaitable[TeeMemory]) -> TeeError:
    with pytest.raises(TeeError) as caught:
        await asked
    assert caught.value.fix
    return caught.value
