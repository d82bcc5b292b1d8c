"""A number that keeps its rule but counts another unit than was meant gets a warning."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from teeplugin.commands.doctor.evidence import Evidence
from teeplugin.commands.doctor.model import warning
from teeplugin.commands.doctor.settings_checks import configuration
from teeplugin.policy.units import format_size
from tests.unit.config.config_loading import loaded_from, yaml_file


def lines(**values: str) -> list[str]:
    return [doubt.line for doubt in loaded_from(*values.items()).doubts]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("600", "600MiB"),
        ("1", "1MiB"),
        ("65535", "65535MiB"),
        ("614400", "600MiB"),
        ("614401", "614401KiB"),
    ],
)
def test_a_bare_reserve_that_no_os_could_live_in_is_doubted(text: str, meant: str) -> None:
    (line,) = lines(reserve=text)
    assert line == (
        f"flag --reserve {text}: this is {text} bytes: write --reserve {meant} if that was meant"
    )


@pytest.mark.parametrize("text", ["0", "600MiB", "600Mi", "600K", "600B", "1048576", "629145600"])
def test_a_reserve_with_a_unit_or_of_enough_bytes_is_not_doubted(text: str) -> None:
    assert lines(reserve=text) == []


@pytest.mark.parametrize(("text", "meant"), [("524288", 512), ("2097152", 2048)])
def test_a_precision_in_bytes_is_doubted(text: str, meant: int) -> None:
    (line,) = lines(precision=text)
    assert line == (
        f"flag --precision {text}: this is in KB, so a unit has {format_size(meant * 1024**2)}: "
        f"write --precision {meant} if that was meant"
    )


@pytest.mark.parametrize("text", ["512", "1024", "262144", "524287"])
def test_a_usual_precision_is_not_doubted(text: str) -> None:
    assert lines(precision=text) == []


def test_where_it_was_written_is_named(tmp_path: Path) -> None:
    (doubt,) = loaded_from(file=yaml_file(tmp_path, "\nreserve: 600\n")).doubts
    assert "line 2" in doubt.setting
    assert doubt.fix == "write reserve: 600MiB if that was meant"
    (doubt,) = loaded_from(environ={"TEEPLUGIN_RESERVE": "600"}).doubts
    assert doubt.setting == "environment TEEPLUGIN_RESERVE"
    assert doubt.fix == "write TEEPLUGIN_RESERVE=600MiB if that was meant"


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if "TEEPLUGIN" not in name}
    return subprocess.run(
        [sys.executable, "-m", "teeplugin", *words],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("-precision", "524288", "--print-config"),
        ("size", "--precision", "524288", "examples/configs.xml"),
        ("status", "-precision", "524288"),
    ],
)
def test_commands_warn_on_standard_error_in_one_line(words: tuple[str, ...]) -> None:
    warnings = [line for line in ran(*words).stderr.splitlines() if "warning" in line]
    (line,) = warnings
    assert line.startswith("tee-device-plugin: warning: flag -")
    assert line.endswith("precision 512 if that was meant")


def test_the_daemon_logs_it_and_starts(tmp_path: Path) -> None:
    # Without a kubelet's directory it ends by itself, right after the settings were looked at.
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    ended = ran(
        "--reserve=600", "--log-format=json", "--backend=simulated", f"--kubelet-dir={deep}"
    )
    logged = json.loads(ended.stderr.splitlines()[0])
    assert (logged["event"], logged["level"]) == ("implausible_setting", "warning")
    assert (logged["setting"], logged["value"]) == ("flag --reserve", "600")
    assert (logged["effect"], logged["fix"]) == (
        "this is 600 bytes",
        "write --reserve 600MiB if that was meant",
    )


def test_doctor_warns_in_its_report() -> None:
    evidence = Evidence(loaded=loaded_from(("reserve", "600")), socket_path_fits=True)
    assert configuration(evidence) == warning(
        "flag --reserve 600: this is 600 bytes", "write --reserve 600MiB if that was meant"
    )
