"""Several files of one TA, several TAs, and the program with hostile files."""

import subprocess
import sys
from pathlib import Path

import pytest

from teeplugin.commands.sizing.files import read_descriptions
from teeplugin.config.settings import shown_path
from tests.unit.commands.sizing_files import DATA, HEAP, STACK, UUID, configs_xml, size
from tests.unit.commands.sizing_files import read_refusal as refusal

# Several TAs


def test_two_tas_with_one_uuid_are_refused(here: Path) -> None:
    for name in ("one.xml", "two.xml"):
        (here / name).write_text(configs_xml(HEAP))
    line = refusal("one.xml", "two.xml")
    assert line.startswith(f"two.xml line 2: uuid: {UUID} is the UUID of the TA in one.xml too")
    assert refusal("one.xml", "one.xml").startswith("one.xml line 2: uuid")


def test_configs_and_manifest_of_one_ta_count_as_one_if_they_agree(here: Path) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP + STACK))
    same = f"gpd.ta.appID: {UUID.upper()}\ngpd.ta.dataSize: 081920\ngpd.ta.stackSize: 8192\n"
    (here / "manifest.txt").write_text(same)
    (found,) = read_descriptions(["configs.xml", "manifest.txt"])
    assert found.files == ("configs.xml", "manifest.txt")
    (here / "other.txt").write_text(same)
    assert "other.txt line 1: uuid" not in refusal("configs.xml", "manifest.txt", "other.txt")


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        (
            "gpd.ta.dataSize: 81920\ngpd.ta.stackSize: 4096",
            ["manifest.txt line 3: gpd.ta.stackSize: 4096", "configs.xml line 4: stack_size: 8192"],
        ),
        (
            "gpd.ta.dataSize: 81920",
            [
                "manifest.txt: the default of stack_size: 2048",
                "configs.xml line 4: stack_size: 8192",
            ],
        ),
        (
            "gpd.ta.dataSize: 81920\ngpd.ta.stackSize: 8192\ngpd.ta.multiSession: true",
            [
                "line 4: gpd.ta.multiSession: true",
                "configs.xml: the default of multi_session: false",
            ],
        ),
        (
            "gpd.ta.dataSize: 81920\ngpd.ta.stackSize: 8192\ngpd.ta.service_name: other",
            ["line 4: gpd.ta.service_name: other", "configs.xml line 2: service_name: demo"],
        ),
    ],
)
def test_configs_and_manifest_of_one_ta_that_differ_are_refused(
    here: Path, lines: str, parts: list[str]
) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP + STACK))
    (here / "manifest.txt").write_text(f"gpd.ta.appID: {UUID}\n{lines}\n")
    line = refusal("configs.xml", "manifest.txt")
    assert [part for part in [*parts, "make them agree"] if part not in line] == [], line


def test_two_files_of_one_ta_say_the_same_in_either_order(here: Path) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP, basic=f"<uuid>{UUID}</uuid>"))
    (here / "manifest.txt").write_text(
        f"gpd.ta.appID: {UUID}\ngpd.ta.dataSize: 81920\ngpd.ta.stackSize: 2048\n"
        "gpd.ta.service_name: demo\ngpd.ta.target_type: 07\ngpd.ta.stackSizes: 1\n"
    )
    names = ("configs.xml", "manifest.txt")
    for files in (names, names[::-1]):
        (found,) = read_descriptions(files)
        assert (found.service_name, found.target_type) == ("demo", "7")
        assert found.left_out == ("single_instance", "multi_session", "instance_keep_alive")
        assert found.doubts == ("gpd.ta.stackSizes isn't known: did you mean gpd.ta.stackSize?",)


def test_a_target_type_that_differs_is_refused_and_one_with_zeros_before_it_is_not(
    here: Path,
) -> None:
    (here / "configs.xml").write_text(configs_xml("<target_type>7</target_type>"))
    for text in ("07", "6"):
        (here / f"{text}.txt").write_text(f"gpd.ta.appID: {UUID}\ngpd.ta.target_type: {text}\n")
    assert len(read_descriptions(["configs.xml", "07.txt"])) == 1
    line = refusal("6.txt", "configs.xml")
    assert line.startswith("configs.xml line 4: target_type: 7, but 6.txt line 2: gpd.ta.target_ty")


def test_tas_without_a_uuid_are_different_tas(here: Path) -> None:
    (here / "a.txt").write_text("gpd.ta.dataSize: 81920\n")
    assert len(read_descriptions(["a.txt", "a.txt"])) == 2


def test_more_tas_than_any_container_has_are_refused(here: Path) -> None:
    (here / "a.txt").write_text("gpd.ta.dataSize: 81920\n")
    assert len(read_descriptions(["a.txt"] * 64)) == 64
    assert "65 TAs" in refusal(*["a.txt"] * 65)


# The program


@pytest.mark.parametrize("file", ["entities.xml", "external.xml", "parameter.xml"])
def test_hostile_xml_ends_the_program_with_one_line_and_status_2(file: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "teeplugin", "size", str(DATA / file)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(f"tee-device-plugin: {shown_path(DATA / file)} line ")


def test_the_daemon_loads_neither_the_sizing_nor_its_xml_parser() -> None:
    # What measures coverage is there before, and loads much.
    code = (
        "import sys; before = {*sys.modules}; import teeplugin.daemon.run; "
        "print(*{*sys.modules} - before)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout.split()
    assert "teeplugin.daemon.run" in loaded
    unwanted = ("defusedxml", "xml", "teeplugin.commands.sizing")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_a_manifest_is_read_without_the_xml_parser() -> None:
    code = (
        "import sys; from teeplugin.commands.sizing.size_command import main; "
        f"main([{str(DATA / 'plugin.txt')!r}]); assert 'defusedxml' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, timeout=30, check=True)
    assert "demo" in size(DATA / "sdk_default.xml")
