"""The test libteec itself: it answers what is right, and refuses each thing that is wrong."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import SAMPLE_UUID, Built, runner
from tests.tee.clients import Client

BAD_PARAMETERS = "0xffff0006"
NOT_IMPLEMENTED = "0xffff0009"
GOOD = "0x00000000"
BOTH = ("itrustee", "optee")

Clients = Callable[[Built], Client]
pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Said:
    results: list[tuple[str, str]]
    lines: list[str]
    refusals: list[str]

    def last(self) -> str:
        return self.results[-1][1]


def use(asked: Client, flavour: str, way: str, ta_path: Path | str | None = None) -> Said:
    """Use a library in one of the ways that misuse.c knows."""
    built = asked.built
    path = asked.ta_path if ta_path is None else ta_path
    asked.log.unlink(missing_ok=True)
    result = asked.run(built.misuse[flavour], str(built.library(flavour)), way, *(str(path),))
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    calls = ("init", "open", "invoke")
    results = [(line.split()[0], line.split()[1]) for line in lines if line.startswith(calls)]
    return Said(results, lines, asked.refusals())


@pytest.mark.parametrize("flavour", BOTH)
def test_the_right_way_gets_the_figures_of_the_ta(
    built: Built, client: Clients, flavour: str
) -> None:
    asked = client(built)
    asked.tell(total_bytes=4 << 30, free_bytes=3 << 30, mem_unit=4096)
    said = use(asked, flavour, "rightly")
    assert said.lines == [
        "init 0x00000000 1",
        "open 0x00000000 4",
        "invoke 0x00000000 4",
        f"reply {(4 << 30) // 4096} {(3 << 30) // 4096} 4096 16",
    ]
    assert said.refusals == []


@pytest.mark.parametrize(
    ("way", "outcome"),
    [
        ("context_never_initialised", (BAD_PARAMETERS, "wasn't initialised here")),
        ("context_initialised_twice", (BAD_PARAMETERS, "initialised already")),
        ("context_moved", (BAD_PARAMETERS, "has moved")),
        ("context_written_to", (BAD_PARAMETERS, "was written to")),
        ("context_closed_first", (BAD_PARAMETERS, "still has an open session")),
        ("session_moved", (BAD_PARAMETERS, "has moved")),
        ("session_written_to", (BAD_PARAMETERS, "was written to while it was open")),
        ("session_used_after_its_close", (BAD_PARAMETERS, "is closed")),
        ("session_closed_twice", (GOOD, "is closed")),
        ("session_left_open", (GOOD, "ends with a context or session open")),
        ("login_of_the_other_vendor", (BAD_PARAMETERS, "the login isn't")),
        ("login_with_data", (BAD_PARAMETERS, "connection data")),
        ("types_unknown", (BAD_PARAMETERS, "a parameter's type is none")),
        ("buffer_half_empty", (BAD_PARAMETERS, "empty")),
    ],
)
@pytest.mark.parametrize("flavour", BOTH)
def test_a_wrong_way_is_refused_with_its_reason(
    built: Built, client: Clients, flavour: str, way: str, outcome: tuple[str, str]
) -> None:
    result, why = outcome
    said = use(client(built), flavour, way)
    assert said.last() == result
    assert why in said.refusals[0]


def test_what_started_says_tells_the_vendors_apart(built: Built, client: Clients) -> None:
    asked = client(built)
    assert use(asked, "itrustee", "started_of_the_other_vendor").last() == NOT_IMPLEMENTED
    said = use(asked, "optee", "started_of_the_other_vendor")
    assert said.last() == BAD_PARAMETERS
    assert "started isn't 0" in said.refusals[0]


def test_a_lenient_library_takes_what_the_vendors_would_and_still_notes_it(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    asked.tell(strict=False)
    said = use(asked, "optee", "started_of_the_other_vendor")
    assert said.last() == GOOD
    assert said.refusals


@pytest.mark.parametrize("flavour", BOTH)
def test_the_ta_sees_what_the_client_gave(built: Built, client: Clients, flavour: str) -> None:
    asked = client(built)
    short = use(asked, flavour, "buffer_short")
    assert short.last() == "0xffff0010"
    assert short.lines[-1] == "needed 16"
    assert use(asked, flavour, "types_of_the_open").last() == BAD_PARAMETERS


def test_an_unknown_uuid_is_not_found_in_each_vendors_words(built: Built, client: Clients) -> None:
    asked = client(built)
    assert use(asked, "itrustee", "unknown_uuid").lines[-1] == "open 0x00000002 3"
    assert use(asked, "optee", "unknown_uuid").lines[-1] == "open 0xffff0008 3"


@pytest.mark.parametrize("flavour", BOTH)
def test_a_dead_ta_stays_dead_for_its_session_and_a_new_one_works(
    built: Built, client: Clients, flavour: str
) -> None:
    asked = client(built)
    asked.tell(fault="invoke:result:0xFFFF3024")
    said = use(asked, flavour, "two_calls")
    assert [result for call, result in said.results if call == "invoke"] == ["0xffff3024"] * 2
    assert said.results[-1] == ("open", GOOD)


def test_the_statistics_have_both_record_lengths(built: Built, client: Clients) -> None:
    asked = client(built)
    for length in (56, 64):
        asked.tell(record=length, total_bytes=15 << 20, free_bytes=14 << 20)
        said = use(asked, "optee", "statistics_rightly")
        used = 1 << 20
        assert said.lines == [
            "init 0x00000000 1",
            "open 0x00000000 3",
            "invoke 0x00000000 4",
            f"size {length}",
            f"record Physical TA memory {used} {used} {15 << 20}",
            "invoke 0xffff0010 4",
            f"size {length}",
            "invoke 0x00000000 4",
            f"size {length}",
            "record Physical TA memory 0 0 0",
            "invoke 0xffff0006 4",
            "size 64",
        ]
        assert said.refusals == []


def test_the_statistics_wrap_at_four_gigabytes(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=(4 << 30) + 4096, free_bytes=4 << 30)
    said = use(asked, "optee", "statistics_rightly")
    assert "record Physical TA memory 4096 4096 4096" in said.lines


def test_a_misspelt_key_ends_the_process(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(totl_bytes=1)
    result = asked.run(built.misuse["optee"], str(built.optee), "rightly")
    assert result.returncode == 99
    assert "totl_bytes" in result.stderr


@pytest.mark.parametrize("flavour", BOTH)
def test_faults_come_at_the_chosen_call_with_the_chosen_origin(
    built: Built, client: Clients, flavour: str
) -> None:
    asked = client(built)
    asked.tell(fault="open:result:0xFFFF000C:3")
    said = use(asked, flavour, "unknown_uuid")
    assert said.lines[-1] == "open 0xffff000c 3"
    asked.tell(fault="invoke:crash,open:slow:1")
    result = asked.run(
        built.misuse[flavour], str(built.library(flavour)), "rightly", str(asked.ta_path)
    )
    assert result.returncode == -signal.SIGSEGV


@pytest.mark.parametrize("flavour", BOTH)
def test_sanitizers_find_nothing_in_any_way(
    built_with_sanitizers: Built, client: Clients, flavour: str
) -> None:
    asked = client(built_with_sanitizers)
    for way in _ways():
        # The same bad luck for both: iTrustee knows no such pseudo-TA.
        asked.tell(record=56)
        use(asked, flavour, way)


@pytest.mark.parametrize("flavour", BOTH)
def test_the_arm_build_does_the_same(
    built: Built, built_for_aarch64: Built, client: Clients, flavour: str
) -> None:
    need("emulator")
    asked = client(built)
    emulator, *options = runner("aarch64")
    wrapper = (emulator, *options, "-0", asked.argv0)
    for way in _ways():
        here = use(asked, flavour, way)
        there = use(client(built_for_aarch64).with_(wrapper=wrapper), flavour, way)
        assert there == here, way


def _ways() -> list[str]:
    source = (Path(__file__).parent / "misuse.c").read_text()
    ways = source.partition("} ways[] = {")[2].partition("};")[0]
    names = [line.strip().removeprefix("WAY(").removesuffix("),") for line in ways.splitlines()]
    return [name for name in names if name]


@pytest.mark.parametrize("arch", ["here", "aarch64"])
def test_names_and_symbols_are_each_vendors(request: pytest.FixtureRequest, arch: str) -> None:
    built: Built = request.getfixturevalue("built" if arch == "here" else "built_for_aarch64")
    assert _dynamic(built.itrustee, "SONAME") == []
    assert _dynamic(built.optee, "SONAME") == ["libteec.so.2"]
    assert _dynamic(built.optee_1, "SONAME") == ["libteec.so.1"]
    itrustee = {"TEEC_EXT_RegisterAgent", "TEEC_SendSecfile"}
    optee = {"TEEC_RegisterSharedMemoryFileDescriptor"}
    assert _exported(built.itrustee) >= itrustee
    assert not _exported(built.itrustee) & optee
    assert _exported(built.optee) >= optee
    assert not _exported(built.optee) & itrustee
    for flavour in BOTH:
        whole = _exported(built.library(flavour))
        assert whole - _exported(built.missing_symbol[flavour]) == {"TEEC_InvokeCommand"}
        assert "libboundscheck.so" in _dynamic(built.missing_dependency[flavour], "NEEDED")


def _dynamic(library: Path, tag: str) -> list[str]:
    lines = _readelf("-d", library).splitlines()
    return [line.split("[")[1].rstrip("]") for line in lines if f"({tag})" in line]


def _exported(library: Path) -> set[str]:
    lines = [line.split() for line in _readelf("--dyn-syms", library).splitlines()]
    return {line[7] for line in lines if line[4:5] == ["GLOBAL"] and line[6] != "UND"}


def _readelf(option: str, library: Path) -> str:
    return subprocess.run(
        ["readelf", "-W", option, str(library)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout


def test_the_sample_uuid_is_the_default_everywhere(built: Built) -> None:
    assert SAMPLE_UUID.encode() in built.itrustee.read_bytes()
    assert SAMPLE_UUID.encode() in built.libteememca.read_bytes()


@pytest.mark.timeout(180)
def test_valgrind_finds_nothing_in_any_way_of_using_optees_library(built: Built) -> None:
    need("valgrind")
    valgrind = ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"]
    for way in _ways():
        command = [*valgrind, str(built.misuse["optee"]), str(built.optee), way]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode != 9, (way, result.stderr)
