from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from teeplugin_backends import base
from teeplugin_backends.base import BadReply, OptionError, TeeError, TeeMemory
from teeplugin_backends.simulated import SimulatedTee

pytestmark = pytest.mark.anyio
MIB = 1024**2


async def test_it_answers_what_the_options_say() -> None:
    tee = SimulatedTee.from_options({"total": "64MiB", "pods": "3M", "others": "1048576"})
    assert await tee.memory() == TeeMemory(total_bytes=64 * MIB, free_bytes=60 * MIB)


async def test_more_taken_than_there_is_leaves_nothing_free() -> None:
    tee = SimulatedTee.from_options({"total": "1M", "pods": "3M"})
    assert (await tee.memory()).free_bytes == 0


async def test_the_state_file_plays_the_tee_while_it_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    tee = SimulatedTee.from_options({"total": "64M", "state": str(state)})
    assert (await tee.memory()).total_bytes == 64 * MIB
    state.write_text("# half of it\ntotal = 32M  # gone\nothers=1M\nothers=2M\n")
    assert await tee.memory() == TeeMemory(total_bytes=32 * MIB, free_bytes=30 * MIB)
    state.write_text("fault=refused")
    with pytest.raises(base.Refused):
        await tee.memory()
    state.unlink()
    assert (await tee.memory()).total_bytes == 64 * MIB


@pytest.mark.parametrize(
    "kind",
    [base.Unreachable, base.Refused, base.Busy, base.TimedOut, base.BadReply, base.Exhausted],
)
async def test_it_plays_every_kind_of_fault(kind: type[TeeError]) -> None:
    with pytest.raises(kind) as caught:
        await SimulatedTee.from_options({"fault": kind.kind}).memory()
    assert caught.value.fix


async def test_a_hang_lasts_until_it_is_cancelled() -> None:
    with anyio.move_on_after(0.01) as scope:
        await SimulatedTee.from_options({"fault": "hang"}).memory()
    assert scope.cancelled_caught


async def test_a_bug_is_no_tee_error() -> None:
    with pytest.raises(RuntimeError):
        await SimulatedTee.from_options({"fault": "bug"}).memory()


@pytest.mark.parametrize("text", ["total=12X", "fault=tired", "size=1M", "latency=-1", "hello"])
async def test_a_state_file_that_cannot_be_meant_is_a_bad_reply(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    tee = SimulatedTee.from_options({"state": str(tmp_path / "state")})
    with pytest.raises(BadReply, match=text.partition("=")[0]):
        await tee.memory()


@pytest.mark.parametrize("options", [{"state": "a\0b"}, {"state": "/dev/null/a"}])
async def test_a_state_file_that_cannot_be_opened_is_a_bad_reply(options: dict[str, str]) -> None:
    with pytest.raises(BadReply, match="state file"):
        await SimulatedTee.from_options(options).memory()


async def test_a_total_of_nothing_is_a_bad_reply() -> None:
    with pytest.raises(BadReply, match="total_bytes=0"):
        await SimulatedTee.from_options({"total": "0"}).memory()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": "red"}, ("colour=red", "total")),
        ({"total": "much"}, ("total=much", "64MiB")),
        ({"total": "9" * 4400}, ("total=9", "64MiB")),
        ({"latency": "nan"}, ("latency=nan", "seconds")),
        ({"fault": "tired"}, ("fault=tired", "unreachable")),
        ({"access": "all"}, ("access=all", "itrustee")),
    ],
)
def test_a_bad_option_names_value_and_rule(
    options: Mapping[str, str], words: tuple[str, ...]
) -> None:
    with pytest.raises(OptionError) as caught:
        SimulatedTee.from_options(options)
    assert all(word in str(caught.value) for word in words)


def test_containers_are_handed_nothing_unless_told_otherwise() -> None:
    assert SimulatedTee.from_options({}).access().host_paths() == ()
    access = SimulatedTee.from_options({"access": "itrustee"}).access()
    assert access.host_paths() == ("/var/itrustee/teecd", "/dev/teelog", "/dev/tc_ns_cvm")
    assert access.mounts[0].read_only


@pytest.mark.parametrize(("total", "free"), [(0, 0), (-1, 0), (5, 6), (5, -1)])
def test_a_reading_that_cannot_be_true_is_refused(total: int, free: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        TeeMemory(total_bytes=total, free_bytes=free)
