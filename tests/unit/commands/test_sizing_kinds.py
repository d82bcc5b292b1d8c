"""What isn't an ordinary TA: counted in pages, too large to be loaded, or nothing that a pod loads.

Numbers and notes equal a table that was made by hand; see test_sizing_table.py for its columns.
"""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from teeplugin.commands.sizing.memory import kib_text
from tests.unit.commands.sizing_files import UUID, configs_xml, data, elf, pod, refusal

KIB = 1024
PROPERTIES = {
    "heap_size": "gpd.ta.dataSize",
    "stack_size": "gpd.ta.stackSize",
    "single_instance": "gpd.ta.singleInstance",
    "multi_session": "gpd.ta.multiSession",
    "instance_keep_alive": "gpd.ta.instanceKeepAlive",
    "target_type": "gpd.ta.target_type",
    "mem_page_align": "gpd.ta.mem_page_align",
    "is_lib": "gpd.ta.is_lib",
}
REFUSES = "the open sibling of iTrustee's OS refuses it and iTrustee may as well: it takes"
MOST = f"{kib_text(8 * KIB**2)} at most"

pytestmark = pytest.mark.usefixtures("no_settings")


class Row(NamedTuple):
    """A TA by what differs from 80 KiB of heap and 8 KiB of stack, and what `size` says of it."""

    tags: dict[str, str]
    sessions: int
    heap_kib: int
    stacks_kib: int
    overhead_kib: int
    units: int
    note: str


TABLE = {
    # 802,816 pages of 4 KiB; 1,792 pages for each of five stacks, and for the main thread's 4 more.
    "six public TAs": Row(
        {
            "heap_size": "802816",
            "stack_size": "1792",
            "multi_session": "true",
            "mem_page_align": "true",
        },
        *(1, 3211264, 5 * 7168 + 7172, 580, 6358),
        "mem_page_align is true: heap and stack count pages of 4 KiB, so they have "
        f"{kib_text(3136 * KIB**2)} and {kib_text(7 * KIB**2)}",
    ),
    "the smallest in pages": Row(
        {"heap_size": "1", "stack_size": "1", "mem_page_align": "TRUE"},
        *(1, 4, 4 + 8, 580, 2),
        "mem_page_align is true: heap and stack count pages of 4 KiB, so they have "
        f"{kib_text(4 * KIB)} and {kib_text(4 * KIB)}",
    ),
    "a stack of 8 MiB": Row({"stack_size": "8388608"}, *(1, 80, 8192 + 8196, 580, 34), ""),
    "a stack over 8 MiB": Row(
        {"stack_size": "9437184"},
        *(1, 80, 9216 + 9220, 580, 38),
        f"a stack of {kib_text(9 * KIB**2)}: {REFUSES} {MOST}",
    ),
    "a stack over 8 MiB in pages": Row(
        {"heap_size": "20", "stack_size": "2049", "mem_page_align": "true"},
        *(1, 80, 8196 + 8200, 580, 34),
        f"a stack of {kib_text(8196 * KIB)}: {REFUSES} {MOST}",
    ),
    "many instances": Row(
        {"single_instance": "false"},
        *(3, 240, 24 + 36, 12 + 192 + 768 + 256, 3),
        f"single_instance is false: {REFUSES} only true",
    ),
    "eight sessions": Row({"multi_session": "true"}, *(8, 80, 64 + 12, 608, 2), ""),
    "over eight sessions": Row(
        {"multi_session": "true"},
        *(9, 80, 72 + 12, 612, 2),
        f"9 sessions: {REFUSES} 8 at most",
    ),
    "a driver": Row(
        {"target_type": "1"},
        *(1, 80, 20, 580, 2),
        "target_type 1 is a driver, which no pod loads: leave its file out",
    ),
    "a library by its type": Row(
        {"target_type": "8"},
        *(1, 80, 20, 580, 2),
        "target_type 8 is a library, which no pod loads: leave its file out",
    ),
    "a library": Row(
        {"is_lib": "true"},
        *(1, 80, 20, 580, 2),
        "is_lib is true: it is a library, which no pod loads: leave its file out",
    ),
    "no library": Row({"is_lib": "false", "target_type": "0"}, *(1, 80, 20, 580, 2), ""),
}


def values_of(row: Row) -> dict[str, str]:
    defaults = {
        "heap_size": "81920",
        "stack_size": "8192",
        "single_instance": "true",
        "multi_session": "false",
        "instance_keep_alive": "false",
    }
    return defaults | row.tags


@pytest.mark.parametrize("name", TABLE)
def test_both_forms_give_the_number_and_the_note_of_the_table(name: str, tmp_path: Path) -> None:
    row = TABLE[name]
    values = values_of(row)
    manifest, configs = tmp_path / "manifest.txt", tmp_path / "configs.xml"
    lines = [f"{PROPERTIES[tag]}: {text}\n" for tag, text in values.items()]
    manifest.write_text(f"gpd.ta.appID: {UUID}\n{''.join(lines)}")
    tags = [f"<{tag}>{text}</{tag}>" for tag, text in values.items()]
    configs.write_text(configs_xml("".join(tags), f"<uuid>{UUID}</uuid>"))
    for files in ([manifest], [configs], [configs, manifest]):
        found = data("--sessions", str(row.sessions), *files)
        assert {part: found["parts"][part] // KIB for part in ("heap", "stacks", "overhead")} == {
            "heap": row.heap_kib,
            "stacks": row.stacks_kib,
            "overhead": row.overhead_kib,
        }
        assert found["units"] == row.units
        assert found["tas"][0]["notes"][-1:] == ([row.note] if row.note else [])


def test_the_pod_carries_the_note(tmp_path: Path) -> None:
    (tmp_path / "driver.xml").write_text(configs_xml("<target_type>1</target_type>"))
    words = "#   target_type 1 is a driver, which no pod loads: leave its file out\n"
    assert words in pod("--image", "registry.example/ca:1", tmp_path / "driver.xml")


@pytest.mark.parametrize(("size_bytes", "is_noted"), [(8 * KIB**2, False), (8 * KIB**2 + 1, True)])
def test_a_binary_that_makes_a_sec_over_8_mib_is_noted(
    tmp_path: Path, size_bytes: int, is_noted: bool
) -> None:
    (tmp_path / "ta.xml").write_text(configs_xml())
    content = elf((0, 4096))
    (tmp_path / "ta.so").write_bytes(content + bytes(size_bytes - len(content)))
    found = data("--binary", tmp_path / "ta.so", tmp_path / "ta.xml")
    noted = [note for note in found["tas"][0]["notes"] if "libteec refuses a .sec" in note]
    assert bool(noted) == is_noted
    assert found["parts"]["code"] == 4096


@pytest.mark.parametrize("text", ["600Mi", "1Gi", "600M"])
def test_a_size_with_a_unit_names_its_bytes(tmp_path: Path, text: str) -> None:
    (tmp_path / "ta.xml").write_text(configs_xml(f"<heap_size>{text}</heap_size>"))
    size_bytes = {"600Mi": 629145600, "1Gi": 1073741824, "600M": 629145600}[text]
    line = refusal(tmp_path / "ta.xml")
    assert line.endswith(
        f"is not a whole number of bytes: write bytes without a unit, {size_bytes}"
    )


def test_two_files_of_one_ta_have_to_agree_in_what_a_size_counts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"gpd.ta.appID: {UUID}\ngpd.ta.dataSize: 16384\n")
    (tmp_path / "a.xml").write_text(configs_xml("<mem_page_align>true</mem_page_align>"))
    line = refusal(tmp_path / "a.txt", tmp_path / "a.xml")
    assert re.search(r"mem_page_align: true, but .* the default of mem_page_align: false", line)
