"""What is checked before the TA is signed: certificate, key, configs.xml and manifest.txt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, SAMPLE_UUID, make
from tests.tee.certificates import config_of, new_key
from tests.tee.configs import configs_xml

TA = ROOT / "ta"
FAKE_SDK = HERE / "fake_sdk"
OTHER_UUID = "01234567-89ab-cdef-0123-456789abcdef"
UNKNOWN = "its form isn't known: "

pytestmark = pytest.mark.timeout(60)


class Developer:
    """A folder with what a developer has, and the check of it."""

    def __init__(self, folder: Path) -> None:
        self.key, self.config = folder / "private_key.pem", folder / "config"
        self.configs, self.manifest = folder / "configs.xml", folder / "manifest.txt"
        self.der = new_key(self.key)
        self.issue(configs_xml())

    def issue(self, configs: str) -> None:
        """Have the certificate issued for this."""
        self.config.write_bytes(config_of(self.der, configs))

    def check(self, *settings: str) -> tuple[list[str], list[str]]:
        """Check it, and give the errors and the notes."""
        files = {name: getattr(self, name) for name in ("key", "config", "configs", "manifest")}
        words = [f"--{name}={path}" for name, path in files.items()]
        words.append(f"--tools={FAKE_SDK / 'signtools'}")
        result = subprocess.run(
            [sys.executable, "-B", TA / "signing.py", "check", *words, *settings],
            env=os.environ | {"PYTHONPATH": str(FAKE_SDK / "modules"), "PYTHONSAFEPATH": ""},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        errors = result.stderr.splitlines()
        assert all(line.startswith("error: ") for line in errors), result.stderr
        assert result.returncode == bool(errors)
        return errors, [line.removeprefix("note: ") for line in result.stdout.splitlines()]


@pytest.fixture
def developer(tmp_path: Path) -> Developer:
    need("openssl")
    return Developer(tmp_path)


# ---- the certificate alone


def test_key_and_config_are_enough(developer: Developer) -> None:
    assert developer.check() == ([], [])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"service_name": "tee.memory"}, "service_name is 'tee.memory', which the signing tool"),
        ({"service_name": "x" * 37}, "it takes 1 to 36 letters A-Z a-z, digits, - and _"),
        ({"heap_size": None}, "it says no heap_size, so it doesn't tell what"),
        ({"heap_size": "0"}, "heap_size is '0', which is no number of bytes"),
    ],
)
def test_a_certificate_that_nothing_can_be_signed_for_is_one_line(
    developer: Developer, changes: dict[str, str | None], says: str
) -> None:
    developer.issue(configs_xml(**changes))
    (error,), _ = developer.check()
    assert error.startswith(f"error: {developer.config}: ")
    assert says in error


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is too short"),
        (b"a signed configuration of another form" * 9, "it begins with 0x69732061"),
        ("cut", "it ends before what its header announces"),
        ("key", "it holds no certificate"),
        ("values", "its values can't be read"),
    ],
)
def test_a_config_of_another_form_asks_for_configs_xml_and_then_is_only_noted(
    developer: Developer, content: bytes | str, says: str
) -> None:
    whole = developer.config.read_bytes()
    damaged = {
        "cut": whole[:400],
        "key": whole.replace(b"\1\0\0\0" + developer.der, bytes(4) + developer.der),
        "values": whole.replace(b"0000", b"zzzz"),
    }
    developer.config.write_bytes(content if isinstance(content, bytes) else damaged[content])
    (error,), _ = developer.check()
    assert says in error
    assert error.endswith(f"put its configs.xml at {developer.configs}")
    developer.configs.write_text(configs_xml())
    errors, (note,) = developer.check()
    assert errors == []
    assert note.startswith(f"{developer.config}: not compared, because {UNKNOWN}{says}")


def test_a_key_that_is_none_is_one_line(developer: Developer) -> None:
    developer.key.write_text("a key\n")
    (error,), _ = developer.check()
    assert "is no private key that openssl can read" in error


# ---- configs.xml and manifest.txt


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uuid": OTHER_UUID}, [f"uuid is {OTHER_UUID}, but {SAMPLE_UUID} in the certificate"]),
        ({"service_name": "ours"}, ["service_name is ours, but tee-memory in the certificate"]),
        ({"heap_size": "81921"}, ["heap_size is 81921, more than the 81920 of the certificate"]),
        (
            {"single_instance": "false", "multi_command": "true"},
            [
                "multi_command is true, but false in the certificate",
                "single_instance is false, but true in the certificate",
            ],
        ),
        ({"mem_page_align": "true"}, ["mem_page_align is true, but false in the certificate"]),
        ({"heap_size": "80K"}, ["heap_size is '80K', which is no number of bytes"]),
        ({"uuid": "e3d37f4af24c48d088843bdd6c44e988"}, ["which is no UUID"]),
        ({"multi_session": "yes"}, ["neither true nor false"]),
        ({"service_name": "a\nb"}, ["which the signing tool refuses"]),
        ({"distribution": "a\nb"}, ["can't stand in a manifest"]),
    ],
)
def test_each_mismatch_of_configs_xml_is_one_line(
    developer: Developer, changes: dict[str, str | None], says: list[str]
) -> None:
    developer.configs.write_text(configs_xml(**changes))
    errors, _ = developer.check()
    assert len(errors) == len(says)
    for error, words in zip(sorted(errors), says, strict=True):
        assert error.startswith(f"error: {developer.configs}: ")
        assert words in error


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("gpd.ta.datasize: 163840", "heap_size is 163840, more than the 81920"),
        ("gpd.ta.multiSession: false", "multi_session is false, but true"),
        ("gpd.ta.service_name: demo.ta", "service_name is 'demo.ta', which the signing tool"),
        ("no property", "is no line of the form"),
        ("gpd.ta.appID: 1\ngpd.ta.appid: 2", "uuid is '1', which is no UUID"),
        ("gpd.ta.multiSession: true\n" * 2, "multi_session stands there twice"),
    ],
)
def test_each_mismatch_of_manifest_txt_is_one_line(
    developer: Developer, line: str, says: str
) -> None:
    developer.manifest.write_text(f"# a comment\n\n{line}\n")
    (error,), _ = developer.check()
    assert error.startswith(f"error: {developer.manifest}: ")
    assert says in error


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("", "not XML"),
        ("<other/>", "outermost element is other"),
        (configs_xml().replace("<heap", "<heap_size>1</heap_size><heap"), "stands there twice"),
    ],
)
def test_what_is_no_configuration_is_one_line(developer: Developer, xml: str, says: str) -> None:
    developer.configs.write_text(xml)
    (error,), _ = developer.check()
    assert says in error


def test_the_vendors_sections_without_a_property_are_noted(developer: Developer) -> None:
    xml = configs_xml(sys_verify_ta="true").replace(
        "</ConfigInfo>", "<TA_Control_Info><DEBUG_Info/></TA_Control_Info><drv_perm/></ConfigInfo>"
    )
    developer.configs.write_text(xml)
    developer.issue(xml.replace("<drv_perm/>", ""))
    errors, notes = developer.check()
    assert errors == []
    skipped = [note.removeprefix(f"{developer.configs}: ").split()[0] for note in notes]
    assert skipped == ["sys_verify_ta", "TA_Control_Info", "drv_perm"]


def test_a_uuid_may_be_written_in_capitals(developer: Developer) -> None:
    developer.configs.write_text(configs_xml(uuid=SAMPLE_UUID.upper()))
    assert developer.check() == ([], [])


# ---- mem_page_align: 20 pages are 81,920 bytes


def test_sizes_in_pages_are_compared_as_pages(developer: Developer) -> None:
    developer.issue(configs_xml(mem_page_align="true", heap_size="20", stack_size="2"))
    assert developer.check("--heap_size=81920", "--stack_size=8192")[0] == []
    (error,), _ = developer.check("--heap_size=81921")
    assert "heap_size is 21, more than the 20 of the certificate" in error
    developer.manifest.write_text("gpd.ta.dataSize: 81920\n")
    (error,), _ = developer.check()
    assert "heap_size is 81920, more than the 20 of the certificate" in error


def test_bytes_in_a_certificate_that_counts_pages_are_noted(developer: Developer) -> None:
    developer.issue(configs_xml(mem_page_align="true"))
    errors, notes = developer.check()
    assert errors == []
    assert notes == ["mem_page_align: sizes are in pages of 4 KiB, so the heap has 320.0 MiB"]


# ---- the request


def test_the_request_is_a_configuration_that_passes(developer: Developer) -> None:
    need("compiler")
    text = make(TA, ["request", f"UUID={OTHER_UUID}", "SERVICE_NAME=ours", "HEAP=16384"])
    assert f"<uuid>{OTHER_UUID}</uuid>" in text
    assert "<service_name>ours</service_name>" in text
    developer.issue(text)
    developer.configs.write_text(text)
    settings = (f"--uuid={OTHER_UUID}", "--heap_size=16384", "--multi_session=true")
    assert developer.check(*settings) == ([], [])
