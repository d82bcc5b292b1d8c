"""What is no good description of a TA is refused in one line with its place, and harms nothing."""

import os
from pathlib import Path

import pytest

from teeplugin.commands.sizing.description import Description
from teeplugin.commands.sizing.files import read_description
from teeplugin.config.settings import ConfigError
from tests.unit.commands.sizing_files import DATA, HEAP, STACK, UUID, configs_xml, elf
from tests.unit.commands.sizing_files import read_refusal as refusal


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


@pytest.mark.parametrize(
    "name", ["", "x" * 37, "two\nlines", "be\u0085ll", "demo.ta", "demo ta", "内存"]
)
def test_a_service_name_that_the_signing_tool_refuses_is_refused(here: Path, name: str) -> None:
    (here / "configs.xml").write_text(configs_xml(HEAP, f"\n<service_name>{name}</service_name>"))
    line = refusal("configs.xml")
    assert line.startswith("configs.xml line 3: service_name")
    assert "the signing tool takes 1 to 36 letters A-Z a-z, digits, _ and -" in line


@pytest.mark.parametrize("name", ["x" * 32, "demo-driver"])
def test_a_drivers_name_has_a_narrower_rule(here: Path, name: str) -> None:
    basic = f"\n<service_name>{name}</service_name>"
    (here / "configs.xml").write_text(configs_xml("<target_type>1</target_type>", basic))
    assert "takes 1 to 31 letters A-Z a-z, digits, _:" in refusal("configs.xml")


# XML


HOSTILE: dict[str, tuple[bytes, list[str]]] = {
    "truncated": (configs_xml(HEAP).encode()[:150], ["line 4: broken XML"]),
    "cut in a character": (
        "<ConfigInfo>\n<é".encode()[:-1],
        ["line 2: declares no encoding", "its bytes aren't UTF-8"],
    ),
    "another tag closed": (b"<ConfigInfo>\n<a></b>\n</ConfigInfo>", ["line 2: broken XML"]),
    "garbage in it": (b"<ConfigInfo>\n\n\x00\x01\xff</ConfigInfo>", ["declares no encoding"]),
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
        ["line 2: heap_size belongs in TA_Manifest_Info"],
    ),
    "a tag too deep": (configs_xml(f"<more>{HEAP}</more>").encode(), ["line 4", "belongs in"]),
    "a tag in a value": (
        configs_xml("<heap_size>8<b/>1920</heap_size>").encode(),
        ["line 4: b is inside heap_size", "give"],
    ),
    "GBK that is called UTF-8": (
        "<?xml version='1.0' encoding='UTF-8'?>\n<ConfigInfo>\n<!-- 温 -->".encode("gbk"),
        ["line 3: names the encoding UTF-8", "its bytes aren't UTF-8", "save it as UTF-8"],
    ),
    "UTF-8 that is called UTF-16": (
        b"<?xml version='1.0' encoding='utf-16'?><ConfigInfo/>",
        ["line 1: names the encoding utf-16", "its bytes aren't utf-16"],
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
    "no UTF-8": (b"gpd.ta.dataSize: 81920\n#\xff\n", ["line 2: its bytes aren't UTF-8"]),
    "random bytes": (bytes(range(128, 256)), ["line 1: its bytes aren't UTF-8"]),
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
