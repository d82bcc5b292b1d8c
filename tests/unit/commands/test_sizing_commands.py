"""`size` and the flags that `pod` has too: what they print, and every mistake in one line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from teeplugin.commands.sizing import pod_command, size_command
from tests.unit.commands.sizing_files import DATA, UUID, configs_xml, data, elf, pod, refusal, size

DOCUMENT = Path(__file__).parents[3] / "docs" / "sizing.md"
EXAMPLE = DATA / "ten_mib.xml"
PLUGIN = DATA / "plugin.txt"
IMAGE = ("--image", "registry.example/ca:1")
RESOURCE = "huawei.com/tee-ram"

pytestmark = pytest.mark.usefixtures("no_settings")


# size


def test_the_worked_example_needs_22_units_of_512_kb() -> None:
    found = data(EXAMPLE)
    assert (found["units"], found["precision_kb"], found["resource_name"]) == (22, 512, RESOURCE)
    assert f"\n{RESOURCE}: 22\n" in size(EXAMPLE)


def test_the_parts_add_up_to_what_is_asked_for() -> None:
    found = data(EXAMPLE, PLUGIN)
    assert list(found["parts"]) == ["heap", "stacks", "code", "overhead", "rounding"]
    assert sum(found["parts"].values()) == found["asked_bytes"]
    assert found["asked_bytes"] == found["units"] * found["unit_bytes"]
    assert sum(found["certainty"].values()) == found["needed_bytes"]
    single = [*found["container"], *(part for ta in found["tas"] for part in ta["parts"])]
    assert sum(part["bytes"] for part in single) == found["needed_bytes"]
    assert found["waste_percent"] == round(
        100 * found["parts"]["rounding"] / found["asked_bytes"], 1
    )


def test_yaml_says_what_json_says() -> None:
    assert yaml.safe_load(size("--format", "yaml", EXAMPLE, PLUGIN)) == data(EXAMPLE, PLUGIN)


def test_the_table_says_what_json_says() -> None:
    table, found = size(EXAMPLE, PLUGIN), data(EXAMPLE, PLUGIN)
    for part in [*found["container"], *(part for ta in found["tas"] for part in ta["parts"])]:
        assert re.search(
            rf"^  {part['part']} +{part['bytes'] // 1024} KiB  {re.escape(part['formula'])}"
            rf" +{part['certainty']}$",
            table,
            re.MULTILINE,
        ), part
    for row in found["precisions"]:
        figures = rf"^ +{row['precision_kb']} KiB +{row['units']} +{row['waste_percent']} %"
        assert re.search(figures, table, re.MULTILINE), row
    assert f" {found['waste_percent']} % of the whole is waste by rounding" in table
    # How long the line is that names the file depends on where the file is.
    lines = size("--sessions", "demo-ta=1", EXAMPLE).splitlines()
    assert max(len(line) for line in lines if str(EXAMPLE) not in line) <= 120


def test_the_precision_that_wastes_least_is_among_those_that_are_compared() -> None:
    found = data(EXAMPLE, PLUGIN, "--precision", "700")
    least = min(row["waste_percent"] for row in found["precisions"])
    (best,) = (
        row
        for row in found["precisions"]
        if row["precision_kb"] == found["least_waste_precision_kb"]
    )
    assert best["waste_percent"] == least
    assert 700 in {row["precision_kb"] for row in found["precisions"]}
    marked = rf"^ +{best['precision_kb']} KiB .*wastes least$"
    assert re.search(marked, size(EXAMPLE, PLUGIN), re.MULTILINE)


def test_what_has_to_be_known_is_noted(tmp_path: Path) -> None:
    (tmp_path / "app.xml").write_text(configs_xml("<target_type>6</target_type>", basic=""))
    (ta,) = data(tmp_path / "app.xml")["tas"]
    words = ["heap_size isn't given", "16384 counts", "multi_session", "UUID isn't", "a Python"]
    assert [word for word in words if word not in " ".join(ta["notes"])] == []
    assert all(f"  note: {note}\n" in size(tmp_path / "app.xml") for note in ta["notes"])
    assert all(f"#   {note}\n" in pod(*IMAGE, tmp_path / "app.xml") for note in ta["notes"])
    assert data(EXAMPLE)["tas"][0]["notes"] == [
        "keep-alive: it keeps its memory after its sessions are closed"
    ]


def test_names_that_the_output_cannot_write_are_escaped(tmp_path: Path) -> None:
    assert "(\\u5185\\u5b58.xml)" in _in_ascii(tmp_path, "内存.xml")


def test_yaml_is_the_same_data_where_the_output_has_ascii_only(tmp_path: Path) -> None:
    printed = _in_ascii(tmp_path, "内存 😀", "--format=yaml")
    assert yaml.safe_load(printed)["tas"][0]["files"] == ["内存 😀"]


def _in_ascii(folder: Path, name: str, *flags: str) -> str:
    """Run `size` on a file of this name with an output that takes ASCII only."""
    (folder / name).write_text(configs_xml("<heap_size>81920</heap_size>"))
    ended = subprocess.run(
        [sys.executable, "-m", "teeplugin", "size", *flags, name],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_what_no_file_states_is_assumed(tmp_path: Path) -> None:
    texts = {
        "none": "",
        "heap": "gpd.ta.dataSize: 16384\n",
        "stack": "gpd.ta.stackSize: 2048\n",
    }
    found: dict[str, list[str]] = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(f"gpd.ta.appID: {UUID}\n{text}")
        parts = data(tmp_path / name)["tas"][0]["parts"]
        found[name] = [part["certainty"] for part in parts if part["part"] in {"heap", "stacks"}]
    assert found == {
        "none": ["assumed"] * 3,
        "heap": ["stated", "assumed", "assumed"],
        "stack": ["assumed", "estimated", "estimated"],
    }


def test_a_name_that_is_nearly_a_known_one_is_noted(tmp_path: Path) -> None:
    (tmp_path / "ta.xml").write_text(configs_xml("<heapsize>81920</heapsize>"))
    note = "heapsize isn't known: did you mean heap_size?"
    assert note in data(tmp_path / "ta.xml")["tas"][0]["notes"]
    assert f"  note: {note}\n" in size(tmp_path / "ta.xml")


def test_the_columns_of_precisions_stay_apart_at_nine_digits(tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    huge.write_text(
        "gpd.ta.dataSize: 4294967295\ngpd.ta.stackSize: 4294967295\ngpd.ta.singleInstance: false\n"
    )
    table = size("--sessions", "10000", "--precision", "1000000", huge)
    assert re.search(r"^ +512 KiB +[0-9]{9} +[0-9.]+ %", table, re.MULTILINE), table


# Flags


def test_sessions_are_given_for_all_tas_or_for_one(tmp_path: Path) -> None:
    (tmp_path / "multi.txt").write_text(f"gpd.ta.appID: {UUID}\ngpd.ta.singleInstance: false\n")
    files = (PLUGIN, tmp_path / "multi.txt")
    for flags, sessions in [
        ([], [1, 1]),
        (["--sessions", "3"], [3, 3]),
        (["--sessions", "tee-memory=4"], [4, 1]),
        (["--sessions", "2", "--sessions", f"{UUID.upper()}=5"], [2, 5]),
        (["--sessions", f"{tmp_path}/multi.txt=6", f"--sessions={UUID}=7"], [1, 7]),
    ]:
        found = data(*flags, *files)["tas"]
        assert [ta["sessions"] for ta in found] == sessions
        assert [ta["instances"] for ta in found] == [1, sessions[1]]


def test_a_file_is_named_as_it_was_given_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lib.so").write_bytes(elf((0, 8192)))
    plain = "gpd.ta.dataSize: 81920\ngpd.ta.singleInstance: false\n"
    for name in ("other.txt", "a=b.txt"):
        Path(name).write_text(plain)
    for name in ("m s.xml", "a=b.txt", "a", "n" * 150, "li\nne", "内存"):
        Path(name).write_text(plain)
        words = ["--sessions", f"{name}=7", "--binary", f"{name}=lib.so", "a=b.txt", "other.txt"]
        found = data(*words, *([] if name == "a=b.txt" else [name]))["tas"]
        assert {ta["files"][0]: ta["sessions"] for ta in found} == {
            "a=b.txt": 1,
            "other.txt": 1,
            name: 7,
        }
    assert "('m s.xml')" in size("m s.xml")
    # Of two names that it begins with, the longer.
    assert [ta["sessions"] for ta in data("--sessions", "a=b.txt=7", "a", "a=b.txt")["tas"]] == [
        1,
        7,
    ]
    assert "no TA is called a=c.txt" in refusal("--sessions", "a=c.txt=2", "other.txt", "a=b.txt")


def test_a_binary_is_given_for_the_only_ta_or_for_one_of_them(tmp_path: Path) -> None:
    binary = tmp_path / "lib=combine.so"
    binary.write_bytes(elf((0, 8192)))
    assert data("--binary", binary, EXAMPLE)["parts"]["code"] == 8192
    both = data("--binary", f"demo-ta={binary}", PLUGIN, EXAMPLE)
    codes = [[part for part in ta["parts"] if part["part"] == "code"] for ta in both["tas"]]
    assert [len(code) for code in codes] == [0, 1]


def test_flags_may_stand_between_the_files_and_be_spelled_as_the_daemons() -> None:
    assert data(EXAMPLE, "-precision", "1024", PLUGIN)["precision_kb"] == 1024
    assert data(EXAMPLE, "--precision=1024")["precision_kb"] == 1024


def test_precision_and_resource_are_those_of_the_daemons_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugin.yaml").write_text("precision: 2048\nresource-name: example.com/tee\n")
    monkeypatch.setenv("TEEPLUGIN_CONFIG", str(tmp_path / "plugin.yaml"))
    # Others of the daemon's are nothing to these commands.
    monkeypatch.setenv("TEEPLUGIN_KUBELET_DIR", "/not/there")
    found = data(EXAMPLE)
    assert (found["precision_kb"], found["resource_name"]) == (2048, "example.com/tee")
    monkeypatch.setenv("TEEPLUGIN_PRECISION", "1024")
    assert data(EXAMPLE)["precision_kb"] == 1024
    assert data(EXAMPLE, "--precision", "512")["precision_kb"] == 512
    limits = yaml.safe_load(pod(*IMAGE, EXAMPLE))["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"example.com/tee": 11}


def test_what_only_the_nodes_have_may_stand_in_the_daemons_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plugin.yaml"
    file.write_text("precision: 2048\nhost-root: /not/there\nkubelet-dir: /nor/this\n")
    monkeypatch.setenv("TEEPLUGIN_CONFIG", str(file))
    assert data(EXAMPLE)["precision_kb"] == 2048
    assert "huawei.com/tee-ram: 6" in pod(*IMAGE, EXAMPLE)
    # What is read from it has to be right, though, and the file to be one.
    file.write_text("precision: 511\n")
    assert refusal(EXAMPLE).startswith(f"{file} line 1: precision: 511: must be 512 or more: give")
    assert data(EXAMPLE, "--precision", "512")["precision_kb"] == 512
    file.write_text("precison: 512\n")
    assert "did you mean precision?" in refusal(EXAMPLE)
    file.unlink()
    assert "can't be read" in refusal(EXAMPLE)


# Value, rule and fix of each line, in this order.
MISTAKES: dict[tuple[str, ...], list[str]] = {
    (): ["size:", "required: FILE", "see tee-device-plugin size --help"],
    ("--colour", "red", "{xml}"): [
        "size:",
        "--colour",
        "unknown flag",
        "tee-device-plugin size --help",
    ],
    ("--format", "xml", "{xml}"): [
        "size:",
        "--format xml",
        "must be table or json or yaml",
        "give",
    ],
    ("--prec", "512", "{xml}"): ["size:", "--prec", "unknown flag", "did you mean"],
    ("--precision", "511", "{xml}"): ["--precision 511", "must be 512 or more", "e.g."],
    ("--precision", "1MB", "{xml}"): ["--precision 1MB", "not a whole number of KB", "give 512"],
    ("--resource-name", "x", "{xml}"): ["--resource-name x", "must have one /", "give"],
    ("--sessions", "0", "{xml}"): ["--sessions 0", "whole number from 1", "give"],
    ("--sessions", "9" * 5000, "{xml}"): ["--sessions 999", "whole number from 1", "give"],
    ("--sessions", "demo-ta=", "{xml}"): ["--sessions demo-ta=", "whole number", "give"],
    ("--sessions", "other=2", "{xml}"): ["--sessions other=2", "no TA is called other", "demo-ta"],
    ("--sessions", "2", "{xml}"): ["--sessions 2", "demo-ta", "finds it busy", "set multi_session"],
    ("--binary", "/no.so", "{xml}"): ["/no.so", "can't be read", "give"],
    ("--binary", "{xml}", "{xml}"): ["ten_mib.xml", "is no ELF file", "give"],
    ("--binary", "x.so", "{xml}", "{txt}"): ["--binary x.so", "of which TA", "demo-ta, tee-memory"],
    ("{xml}", "--sessions", "tee-memory=10000", "{huge}"): ["no TA is called tee-memory", "huge"],
    ("{huge}", "--sessions", "10000"): ["units of 512 KiB", "226600", "give --precision"],
}


@pytest.mark.parametrize("words", MISTAKES, ids=lambda words: " ".join(words)[:40] or "nothing")
def test_a_mistake_is_one_line_with_value_rule_and_fix(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    huge = tmp_path / "huge.txt"
    huge.write_text(
        "gpd.ta.service_name: huge\ngpd.ta.dataSize: 4294967295\ngpd.ta.singleInstance: false\n"
    )
    line = refusal(*(word.format(xml=EXAMPLE, txt=PLUGIN, huge=huge) for word in words))
    places = [line.find(part) for part in MISTAKES[words]]
    assert -1 not in places, line
    assert places == sorted(places), line


def test_the_precision_that_is_named_for_too_many_units_fits(tmp_path: Path) -> None:
    huge = tmp_path / "huge.txt"
    huge.write_text("gpd.ta.dataSize: 4294967295\ngpd.ta.singleInstance: false\n")
    words = ("--sessions", "10000", huge)
    match = re.search(r"--precision ([0-9]+) or more", refusal(*words))
    assert match
    assert data("--precision", match[1], *words)["units"] <= 226_600
    assert "or more" in refusal("--precision", str(int(match[1]) - 1), *words)


@pytest.mark.parametrize("command", ["size", "pod"])
def test_help_is_printed_without_any_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = {"size": size_command.main, "pod": pod_command.main}[command]
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: tee-device-plugin {command} ")


@pytest.mark.parametrize("word", ["--help", str(EXAMPLE)])
def test_a_reader_that_leaves_early_causes_no_traceback(word: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        ended = subprocess.run(
            [sys.executable, "-m", "teeplugin", "size", word],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "")


def test_a_full_disk_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert size_command.main([str(EXAMPLE)]) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == (
        "tee-device-plugin: standard output: can't be written (No space left on device): "
        "free its device\n"
    )
