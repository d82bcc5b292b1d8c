"""What is no good description of a TA is refused in one line with its place, and harms nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from teeplugin.commands.sizing.description import Description
from teeplugin.commands.sizing.files import read_description, read_descriptions
from teeplugin.config.settings import ConfigError
from tests.unit.commands.sizing_files import DATA, UUID, configs_xml, elf, size

HEAP, STACK = "<heap_size>81920</heap_size>", "<stack_size>8192</stack_size>"
OTHER_UUID = "89abcdef-0123-4567-89ab-cdef01234567"


def refusal(*files: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_descriptions(files)
    line = str(caught.value)
    assert "\n" not in line
    return line


def read(here: Path, content: str | bytes) -> Description:
    path = here / "ta"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_description(str(path))


# Values: line, value, rule and fix of each, in this order.

VALUES: dict[str, list[str]] = {
    "10MiB": ["heap_size 10MiB", "not a whole number of bytes", "write", "10485760"],
    "80 KB": ["heap_size '80 KB'", "not a whole number of bytes", "81920"],
    "80 apples": ["heap_size '80 apples'", "not a whole number of bytes", "e.g. 81920"],
    "0x14000": ["heap_size 0x14000", "not a whole number of bytes", "e.g. 81920"],
    "1e5": ["heap_size 1e5", "not a whole number of bytes"],
    "81_920": ["heap_size 81_920", "not a whole number of bytes"],
    "+81920": ["heap_size +81920", "not a whole number of bytes"],
    "٨١٩٢٠": ["heap_size ٨١٩٢٠", "not a whole number of bytes"],
    "1" * 5000 + "K": ["heap_size 111", "...", "not a whole number of bytes"],
    "80": ["heap_size 80", "less than 1024 bytes", "81920 for 80 KB"],
    "0": ["heap_size 0", "less than 1024 bytes"],
    "": ["heap_size", "has no value", "write bytes"],
    "-81920": ["heap_size -81920", "is negative", "e.g. 81920"],
    "4294967296": ["heap_size 4294967296", "more than 4294967295", "e.g. 81920"],
    "9" * 5000: ["heap_size 999", "...", "more than 4294967295"],
}


@pytest.mark.parametrize("text", VALUES, ids=lambda text: text[:12] or "empty")
def test_a_size_that_is_no_number_of_bytes_is_refused_in_both_forms(here: Path, text: str) -> None:
    (here / "configs.xml").write_text(configs_xml(f"<heap_size>{text}</heap_size>"))
    (here / "manifest.txt").write_text(f"# ours\n\ngpd.ta.dataSize:\t{text}\n")
    xml, manifest = refusal("configs.xml"), refusal("manifest.txt")
    assert xml.startswith("configs.xml line 4: heap_size")
    assert manifest.startswith("manifest.txt line 3: gpd.ta.dataSize")
    for line in (xml, manifest.replace("gpd.ta.dataSize", "heap_size")):
        places = [line.find(part) for part in VALUES[text]]
        assert -1 not in places, line
        assert places == sorted(places), line
        assert len(line) < 300


OTHER_VALUES: dict[tuple[str, str], str] = {
    ("stack_size", "8 KiB"): "not a whole number of bytes: write bytes without a unit, 8192",
    ("single_instance", "yes"): "is neither true nor false",
    ("multi_session", "1"): "is neither true nor false",
    ("instance_keep_alive", ""): "is neither true nor false",
    ("target_type", "0x1"): "is not a whole number up to 65535",
    ("target_type", "65536"): "is not a whole number up to 65535",
}


@pytest.mark.parametrize(("tag", "text"), OTHER_VALUES)
def test_another_value_that_the_sdk_would_not_take_is_refused(
    here: Path, tag: str, text: str
) -> None:
    (here / "configs.xml").write_text(configs_xml(f"{HEAP}\n<{tag}>{text}</{tag}>"))
    line = refusal("configs.xml")
    assert line.startswith(f"configs.xml line 5: {tag}")
    assert OTHER_VALUES[tag, text] in line


@pytest.mark.parametrize(
    "text", ["", "e3d37f4a", f"{{{UUID}}}", f"urn:uuid:{UUID}", UUID.replace("-", ""), f"{UUID}0"]
)
def test_what_is_no_uuid_is_refused(here: Path, text: str) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP, basic=f"<uuid>{text}</uuid>"))
    assert refusal("configs.xml").startswith("configs.xml line 2: uuid")


@pytest.mark.parametrize("name", ["", "x" * 65, "two\nlines", "be\u0085ll"])
def test_a_service_name_that_could_not_stand_in_a_line_is_refused(here: Path, name: str) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP, f"\n<service_name>{name}</service_name>"))
    assert refusal("configs.xml").startswith("configs.xml line 3: service_name")


# XML


HOSTILE: dict[str, tuple[bytes, list[str]]] = {
    "truncated": (configs_xml(HEAP).encode()[:150], ["line 4: broken XML"]),
    "cut in a character": ("<ConfigInfo>\n<é".encode()[:-1], ["line 2: broken XML"]),
    "another tag closed": (b"<ConfigInfo>\n<a></b>\n</ConfigInfo>", ["line 2: broken XML"]),
    "garbage in it": (b"<ConfigInfo>\n\n\x00\x01\xff</ConfigInfo>", ["line 3: broken XML"]),
    "two roots": (configs_xml(HEAP).encode() * 2, ["line 7: broken XML"]),
    "an unknown entity": (configs_xml("<heap_size>&x;</heap_size>").encode(), ["line 4: broken"]),
    "no configs.xml": (b"\n<html><body/></html>", ["line 2: the outermost tag is html", "give"]),
    "another namespace": (b'<x:ConfigInfo xmlns:x="y"/>', ["line 1", "x:ConfigInfo", "ConfigInfo"]),
    "no manifest part": (b"<ConfigInfo/>", ["has no TA_Manifest_Info", "give"]),
    "a tag twice": (configs_xml(f"{HEAP}\n{HEAP}").encode(), ["line 5: heap_size", "in line 4"]),
    "two TAs in a file": (
        (configs_xml(HEAP)[:-14] + configs_xml(HEAP)[13:]).encode(),
        ["line 6: TA_Basic_Info stands in line 2", "one TA a file"],
    ),
    "a tag in the wrong part": (
        configs_xml(STACK, basic=HEAP).encode(),
        ["line 2: heap_size belongs into TA_Manifest_Info"],
    ),
    "a tag too deep": (configs_xml(f"<more>{HEAP}</more>").encode(), ["line 4", "belongs into"]),
    "a tag in a value": (
        configs_xml("<heap_size>8<b/>1920</heap_size>").encode(),
        ["line 4: b stands within heap_size", "give"],
    ),
    "an unknown encoding": (
        b"<?xml version='1.0' encoding='klingon'?><ConfigInfo/>",
        ["line 1", "encoding"],
    ),
    "an encoding for data": (
        b"<?xml version='1.0' encoding='base64'?><ConfigInfo/>",
        ["line 1", "read"],
    ),
    "wide characters announced": (
        b"<?xml version='1.0' encoding='utf-7'?><ConfigInfo/>",
        ["line 1", "read"],
    ),
    "half a mark": (b"\xff\xfe<\x00", ["broken XML"]),
    "tags without end": (b"<ConfigInfo>" + b"<a>" * 300_000, ["line 1: broken XML"]),
    "one long tag": (b"<ConfigInfo " + b"a" * 1_000_000, ["line 1: broken XML"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_broken_or_hostile_xml_is_refused(here: Path, name: str) -> None:
    content, parts = HOSTILE[name]
    (here / "configs.xml").write_bytes(content)
    line = refusal("configs.xml")
    assert line.startswith("configs.xml")
    assert [part for part in parts if part not in line] == [], line


@pytest.mark.parametrize(
    ("file", "number"), [("entities.xml", 2), ("external.xml", 1), ("parameter.xml", 3)]
)
def test_entities_and_external_files_are_refused_unread(
    monkeypatch: pytest.MonkeyPatch, file: str, number: int
) -> None:
    monkeypatch.chdir(DATA)
    line = refusal(file)
    assert line.startswith(f"{file} line {number}: has a document type")
    assert "remove" in line
    assert "root:" not in line


def test_an_xinclude_is_an_unknown_tag_and_reads_nothing(here: Path) -> None:
    include = '<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'
    found = read(here, configs_xml(f"{HEAP}{include}"))
    assert (found.heap_bytes, found.service_name) == (81920, "demo")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "iso-8859-1", "gb18030"])
def test_encodings_that_xml_knows_are_read(here: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    name = "" if encoding.startswith("utf") else f' encoding="{encoding}"'
    content = f'{mark}<?xml version="1.0"{name}?>{configs_xml(HEAP)}'.encode(encoding)
    if encoding == "gb18030":
        assert "encoding that can't be read" in _refused(here, content)
    else:
        assert read(here, content).heap_bytes == 81920


def _refused(here: Path, content: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(here, content)
    return str(caught.value)


# manifest.txt


MANIFESTS: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", ["says nothing of a TA", "give"]),
    "comments only": (b"# gpd.ta.dataSize: 81920\n", ["says nothing of a TA"]),
    "nothing of ours": (b"colour: red\n", ["says nothing of a TA"]),
    "no colon": (
        b"gpd.ta.dataSize 81920\n",
        ["line 1", "is no property", "gpd.ta.dataSize: 81920"],
    ),
    "a blank before": (b"\n gpd.ta.dataSize: 81920\n", ["line 2", "is no property"]),
    "given twice": (
        b"gpd.ta.dataSize: 81920\ngpd.TA.datasize: 4096\n",
        ["line 2: gpd.ta.dataSize 4096", "stands in line 1 too", "remove one"],
    ),
    "binary garbage": (b"gpd.ta.dataSize: 81920\n\x00\x01\x02", ["line 2: is no text in UTF-8"]),
    "no UTF-8": (b"gpd.ta.dataSize: 81920\n#\xff\n", ["line 2: is no text in UTF-8"]),
    "random bytes": (bytes(range(128, 256)), ["line 1: is no text in UTF-8"]),
    "a binary": (elf((0, 4096)), ["is a TA's binary", "--binary"]),
    "a signed TA": (b"\x5a\xa5\x5a\xa5\xaa\x55", ["is a TA's binary", "--binary"]),
}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_manifest_in_utf_16_is_told_to_be_saved_as_utf_8(here: Path, encoding: str) -> None:
    content = "\ufeffgpd.ta.dataSize: 81920\r\n".encode(encoding)
    for damaged in (content, content[:-1]):
        (here / "manifest.txt").write_bytes(damaged)
        assert refusal("manifest.txt") == "manifest.txt: is in UTF-16: save it as UTF-8"


@pytest.mark.parametrize("name", MANIFESTS)
def test_what_is_no_manifest_is_refused(here: Path, name: str) -> None:
    content, parts = MANIFESTS[name]
    (here / "manifest.txt").write_bytes(content)
    line = refusal("manifest.txt")
    assert line.startswith("manifest.txt")
    assert [part for part in parts if part not in line] == [], line


# Files


def test_a_file_of_100_mb_is_refused_unread(here: Path) -> None:
    for name, start in (("huge.xml", b"<ConfigInfo>"), ("huge.txt", b"gpd.ta.dataSize: 81920\n")):
        (here / name).write_bytes(start)
        os.truncate(here / name, 100 * 1024**2)
        assert refusal(name).startswith(f"{name}: has more than 1 MiB")


def test_what_is_no_regular_file_is_refused_unopened(here: Path) -> None:
    os.mkfifo(here / "pipe")
    for name in ("pipe", ".", "/dev/zero"):
        assert refusal(name) == f"{name}: is not a regular file: give a file's path"


@pytest.mark.usefixtures("here")
def test_a_file_that_is_not_there_is_named() -> None:
    assert refusal("no.xml").startswith("no.xml: can't be read (No such file or directory): give")
    assert refusal("a\0b").startswith(r"'a\x00b': can't be read")
    assert refusal("a\nb").startswith(r"'a\nb': can't be read")
    assert refusal("x" * 5000).startswith("xxx")


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
    assert ended.stderr.startswith(f"tee-device-plugin: {DATA / file} line ")


def test_the_daemon_loads_neither_the_sizing_nor_its_xml_parser() -> None:
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, teeplugin.daemon.run; print(*sys.modules)",
        ],
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
