"""`tee-device-plugin identity`: what a trusted application's allowlist has to admit."""

import json
from pathlib import Path

import pytest

from teeplugin.cli import main as cli
from tests.unit.backends.test_libteec_backend import FACTS_SHA256


def test_it_prints_path_user_and_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identity"]) == 0
    assert capsys.readouterr().out.split() == [
        *("path", "/vendor/bin/tee-device-plugin"),
        *("user", "root"),
        *("sha256", FACTS_SHA256),
    ]


def test_it_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identity", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {key: document[key] for key in ("path", "user", "sha256")} == {
        "path": "/vendor/bin/tee-device-plugin",
        "user": "root",
        "sha256": FACTS_SHA256,
    }


def test_without_an_identity_the_json_says_so_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identity", "--backend", "simulated", "--format", "json"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["kind"] == "identity"
    assert [document[key] for key in ("path", "user", "sha256")] == [None] * 3
    assert "its TEE does not check its callers" in err


def test_it_is_the_daemons_identity_from_the_daemons_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEEPLUGIN_BACKEND_OPTIONS", "user=tee")
    words = ["-precision", "600", "-health-interval=5", "--backend-option", "identity=/bin/x"]
    assert cli.main(["identity", *words, "--format=json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["path"], told["user"]) == ("/bin/x", "tee")


def test_help_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["identity", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: tee-device-plugin identity ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--backend", "simulated"], "--backend simulated: its TEE does not check its callers: "),
        (["--format", "xml"], "identity: --format xml: must be text or json"),
        (["--bogus"], "--bogus: unknown flag"),
        (["--backend-option", "user=0"], "--backend libteec: option user=0: must be a user's name"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["identity", *words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"tee-device-plugin: {line}")
    assert complaint.count("\n") == 1


def library(directory: Path, symbol: str) -> str:
    path = directory / "libteec.so"
    path.write_bytes(b"\x7fELF\0TEEC_InitializeContext\0" + symbol.encode() + b"\0")
    return f"library={path}"


def test_with_flavour_auto_the_library_tells_whose_identity_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    optee = library(tmp_path, "TEEC_RegisterSharedMemoryFileDescriptor")
    assert cli.main(["identity", "--backend-option", optee]) == 2
    assert "its TEE does not check its callers" in capsys.readouterr().err
    itrustee = library(tmp_path, "TEEC_EXT_RegisterAgent")
    assert cli.main(["identity", "--backend-option", itrustee]) == 0
    assert cli.main(["identity", "--backend-option", "library=/nowhere/libteec.so"]) == 0
