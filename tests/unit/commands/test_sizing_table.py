"""Files of both forms, read and added up, equal a table that was made by hand."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from teeplugin.commands.sizing.memory import kib_text
from tests.unit.commands.sizing_files import DATA, UUID, elf, size

KIB = 1024


class Row(NamedTuple):
    """What a TA's files say, how it is used, and what that takes in KiB, by hand.

    Heap: whole pages for each instance. Stacks: 1 for each instance, or as many as sessions and at
    least 5 if it is multi-session; and the main thread's with a page, 8 KiB at least. Overhead: 4
    for each session, 64 for each instance, 256 for each without a binary, 256 for the container.
    """

    heap: int
    stack: int
    single: bool
    multi: bool
    sessions: int
    code_kib: int | None
    heap_kib: int
    stacks_kib: int
    overhead_kib: int
    units: int


TABLE = {
    "the SDK's template": Row(20480, 2048, True, True, 1, None, 20, 20 + 8, 580, 2),
    "the SDK's example": Row(81920, 8192, True, False, 1, None, 80, 8 + 12, 580, 2),
    "the plugin's TA": Row(81920, 8192, True, True, 1, None, 80, 40 + 12, 580, 2),
    "with two queries at once": Row(81920, 8192, True, True, 2, None, 80, 40 + 12, 584, 2),
    "with its binary": Row(81920, 8192, True, False, 1, 40, 80, 8 + 12, 324, 1),
    "the tool's defaults": Row(16384, 2048, True, False, 1, None, 16, 4 + 8, 580, 2),
    "no whole pages": Row(304857, 64768, True, True, 1, None, 300, 320 + 68, 580, 3),
    "a certificate manager": Row(2097152, 32768, True, True, 1, None, 2048, 160 + 36, 580, 6),
    "64 MiB and more": Row(67928064, 40960, True, False, 1, None, 66336, 40 + 44, 580, 131),
    "the worked example": Row(10485760, 65536, True, False, 1, None, 10240, 64 + 68, 580, 22),
    "multi-session": Row(10485760, 65536, True, True, 1, None, 10240, 320 + 68, 580, 22),
    "five sessions": Row(10485760, 65536, True, True, 5, None, 10240, 320 + 68, 596, 22),
    "eight sessions": Row(10485760, 65536, True, True, 8, None, 10240, 512 + 68, 608, 23),
    "small code": Row(10485760, 65536, True, False, 1, 40, 10240, 64 + 68, 324, 21),
    "three instances": Row(1048576, 16384, False, False, 3, None, 3072, 48 + 60, 1228, 9),
    "of five stacks each": Row(1048576, 16384, False, True, 3, None, 3072, 240 + 60, 1228, 9),
    "four with binary": Row(1048576, 16384, False, False, 4, 400 // 4, 4096, 64 + 80, 528, 11),
    "the smallest": Row(1024, 1024, True, False, 1, None, 4, 4 + 8, 580, 2),
    "a byte over a page": Row(4097, 4097, True, False, 1, None, 8, 8 + 12, 580, 2),
    "exactly a page": Row(4096, 4096, True, False, 1, None, 4, 4 + 8, 580, 2),
    "1 GiB": Row(1073741824, 1048576, True, False, 1, None, 1048576, 1024 + 1028, 580, 2054),
    "the largest": Row(
        4294967295, 4294967295, True, False, 1, None, 4194304, 4194304 + 4194308, 580, 24578
    ),
    "no rounding": Row(434176, 8192, True, False, 1, None, 424, 8 + 12, 580, 2),
    "a page more": Row(438272, 8192, True, False, 1, None, 428, 8 + 12, 580, 3),
}


def as_manifest(row: Row) -> str:
    return (
        f"gpd.ta.appID: {UUID}\ngpd.ta.dataSize: {row.heap}\ngpd.ta.stackSize: {row.stack}\n"
        f"gpd.ta.singleInstance: {row.single}\ngpd.ta.multiSession: {row.multi}\n"
    )


def as_configs(row: Row) -> str:
    return (
        f"<ConfigInfo><TA_Basic_Info><uuid>{UUID}</uuid></TA_Basic_Info><TA_Manifest_Info>"
        f"<heap_size>{row.heap}</heap_size><stack_size>{row.stack}</stack_size>"
        f"<single_instance>{row.single}</single_instance>"
        f"<multi_session>{row.multi}</multi_session></TA_Manifest_Info></ConfigInfo>"
    )


@pytest.mark.parametrize("name", TABLE)
def test_both_forms_of_a_ta_take_what_was_added_up_by_hand(name: str, tmp_path: Path) -> None:
    row = TABLE[name]
    flags = ["--format", "json", "--sessions", str(row.sessions)]
    if row.code_kib is not None:
        binary = tmp_path / "libcombine.so"
        binary.write_bytes(elf((0, row.code_kib * KIB)))
        flags += ["--binary", str(binary)]
    manifest, configs = tmp_path / "manifest.txt", tmp_path / "configs.xml"
    manifest.write_text(as_manifest(row))
    configs.write_text(as_configs(row))
    code_kib = (row.code_kib or 0) * (1 if row.single else row.sessions)
    needed_kib = row.heap_kib + row.stacks_kib + row.overhead_kib + code_kib
    for files in ([manifest], [configs], [configs, manifest]):
        found = json.loads(size(*flags, *files))
        assert {part: found["parts"][part] / KIB for part in ("heap", "stacks", "overhead")} == {
            "heap": row.heap_kib,
            "stacks": row.stacks_kib,
            "overhead": row.overhead_kib,
        }
        assert found["parts"]["code"] == code_kib * KIB
        assert found["needed_bytes"] == needed_kib * KIB
        assert found["units"] == row.units
        assert found["parts"]["rounding"] == (row.units * 512 - needed_kib) * KIB


@pytest.mark.parametrize("name", ["sdk_default", "plugin"])
def test_manifest_and_configs_of_one_ta_agree(name: str) -> None:
    both = [
        json.loads(size("--format", "json", DATA / f"{name}.{form}")) for form in ("xml", "txt")
    ]
    for found in both:
        found["tas"][0]["files"].clear()
    assert both[0] == both[1]


def test_the_sdks_default_form_is_the_first_row_of_the_table() -> None:
    found = json.loads(size("--format", "json", DATA / "sdk_default.xml"))
    assert (found["units"], found["needed_bytes"]) == (2, 628 * KIB)


def test_a_full_configs_xml_is_read_past_what_takes_no_memory() -> None:
    found = json.loads(size("--format", "json", DATA / "full.xml"))
    (ta,) = found["tas"]
    assert (ta["service_name"], ta["uuid"]) == ("payments", "abcdef01-2345-6789-abcd-ef0123456789")
    assert (found["needed_bytes"], found["units"]) == ((2048 + 196 + 580) * KIB, 6)
    sizes = f"{kib_text(2048 * KIB)} and {kib_text(32 * KIB)}"
    assert ta["notes"] == [
        "instance_keep_alive isn't given: the signing tool's false counts",
        f"mem_page_align is true: heap and stack count pages of 4 KiB, so they have {sizes}",
    ]


def test_several_tas_of_a_container_share_what_it_takes_for_itself() -> None:
    # 372 + 456 KiB and 1,012 of attestation's own, of which no container is counted twice.
    found = json.loads(
        size(
            "--format",
            "json",
            *(DATA / f"{name}.txt" for name in ("sdk_default", "plugin", "attestation")),
        )
    )
    assert [ta["needed_bytes"] / KIB for ta in found["tas"]] == [372, 456, 1012]
    assert (found["needed_bytes"] / KIB, found["units"]) == (372 + 456 + 1012 + 256, 5)
    # Each in a container of its own: 2 + 2 + 3.
    assert next(row for row in found["precisions"] if row["precision_kb"] == 512)["units"] == 7


@pytest.mark.parametrize(
    ("precision", "units"), [("512", 22), ("1024", 11), ("1369", 8), ("4096", 3), ("10952", 1)]
)
def test_the_worked_example_at_other_precisions(precision: str, units: int) -> None:
    found = json.loads(size("--precision", precision, "--format", "json", DATA / "ten_mib.xml"))
    assert found["units"] == units
