"""A name that a file misspells is noted, and one that is only not ours is not."""

from pathlib import Path

import pytest

from teeplugin.commands.sizing.description import MAX_UNKNOWN, Description
from teeplugin.commands.sizing.files import read_description
from tests.unit.commands.sizing_files import UUID, configs_xml


def read(directory: Path, content: str) -> Description:
    path = directory / "ta"
    path.write_text(content)
    return read_description(str(path))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpd.ta.dataSiz", "gpd.ta.dataSize"),
        ("GPD.TA.stack_size", "gpd.ta.stackSize"),
        ("gpd.ta.multiSessions", "gpd.ta.multiSession"),
        ("gpd.ta.multicommand", None),
        ("gpd.ta.mem_page_aligned", "gpd.ta.mem_page_align"),
        ("gpd.ta.distribution", None),
        ("gpd.ta.version", None),
        ("gpd.ta.hardWareType", None),
        ("gpd.sdk.dataSize", None),
        ("heapsize", "heap_size"),
        ("HEAP_SIZE", "heap_size"),
        ("multi_command", None),
        ("sys_verify_ta", None),
        ("target_version", None),
    ],
)
def test_an_unknown_name_near_a_known_one_is_noted(
    tmp_path: Path, name: str, meant: str | None
) -> None:
    content = (
        f"gpd.ta.appID: {UUID}\n{name}: 1\n"
        if name.lower().startswith("gpd")
        else configs_xml(f"<{name}>1</{name}>")
    )
    expected = () if meant is None else (f"{name} isn't known: did you mean {meant}?",)
    assert read(tmp_path, content).doubts == expected


def test_only_some_of_many_unknown_names_are_looked_at(tmp_path: Path) -> None:
    lines = [f"gpd.ta.dataSize{number}: 1" for number in range(1000)]
    assert len(read(tmp_path, "\n".join([f"gpd.ta.appID: {UUID}", *lines])).doubts) == MAX_UNKNOWN
    tags = "".join(f"<heap_size{number}/>" for number in range(1000))
    assert len(read(tmp_path, configs_xml(tags)).doubts) == MAX_UNKNOWN
