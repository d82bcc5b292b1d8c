"""`tee-device-plugin cdi`, as it is typed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from teeplugin.cli import main as cli
from teeplugin.policy.cdi_spec import mismatch
from teeplugin_backends.simulated import SimulatedTee
from tests.unit.policy.cdi_schema import check

BACKEND = ("--backend", "simulated", "--backend-option")
ITRUSTEE = (*BACKEND, "access=itrustee", "--backend-option", "total=8MiB")


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """Other tests want the log as it is before a command sets it up."""
    yield
    structlog.reset_defaults()


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["cdi", *words]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["cdi", *words]) != 0
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err


def test_it_has_the_amounts_that_the_node_lists(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(printed(capsys, *ITRUSTEE))
    check(document)
    assert [device["name"] for device in document["devices"]] == [str(n) for n in range(1, 17)]
    assert mismatch(document, 16, 512 * 1024, limited=True) is None


def test_as_many_as_are_asked_for_and_in_units_of_the_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    document = json.loads(printed(capsys, *ITRUSTEE, "--units", "2048", "-precision", "1024"))
    assert mismatch(document, 2048, 1024 * 1024, limited=True) is None


def test_a_tee_that_limits_nobody_has_no_hooks(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hook" not in printed(capsys, *BACKEND, "access=none")


def test_the_hook_may_be_elsewhere_and_see_to_secure_storage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--hook", "/opt/limit", "--secure-storage", "--units", "1")
    document = json.loads(printed(capsys, *ITRUSTEE, *words))
    [hook] = document["devices"][0]["containerEdits"]["hooks"]
    assert hook["path"] == "/opt/limit"
    assert hook["args"] == ["limit", "set", "--memory=512K", "--secure-storage"]


@pytest.mark.parametrize("units", ["0", "2049", "-1", "ten", "1e3", "٣", "99999"])
def test_an_amount_that_cannot_be_is_refused(
    units: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "must be a whole number, 1 … 2048" in refused(capsys, *ITRUSTEE, f"--units={units}")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--hook", "limit"], "must be an absolute path"),
        (["--hook", "/usr/"], "must be an absolute path"),
        (["--format", "json"], "unknown flag"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(
    words: list[str], rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rule in refused(capsys, *ITRUSTEE, *words)


def test_more_units_than_amounts_are_refused_with_a_precision(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refused(capsys, *BACKEND, "total=2GiB")
    assert "makes 4096 units" in error
    assert "give -precision 2048 or more" in error
    # The fix that it gives is one.
    printed(capsys, *BACKEND, "total=2GiB", "-precision", "2048")


@pytest.mark.parametrize("words", [["--hook", "/x"], ["--secure-storage"]])
def test_a_hook_for_a_tee_that_limits_nobody_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "can't limit containers" in refused(capsys, *BACKEND, "access=none", *words)


def test_a_reserve_that_leaves_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is left" in refused(capsys, *ITRUSTEE, "--reserve", "8MiB")


def test_a_tee_that_does_not_answer_gives_no_specification(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = refused(capsys, *ITRUSTEE, "--backend-option", "fault=unreachable")
    assert "no specification is printed" in error


def test_a_backend_that_names_no_number_is_told_as_its_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(SimulatedTee, "limited_containers", "63")
    assert "limited_containers is '63': must be a whole number" in refused(capsys, *ITRUSTEE)


def test_a_full_disk_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert cli.main(["cdi", *ITRUSTEE]) == 1
        monkeypatch.undo()
    assert "No space left on device" in capsys.readouterr().err
