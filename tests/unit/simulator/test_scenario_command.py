"""`simulate --scenario`: those that are shipped, one's own, and what is told of them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from teeplugin.simulator.scenario_runner.scenario import TOUR, shipped_names

SIMULATE = [sys.executable, "-m", "teeplugin", "simulate"]


def simulate(scratch: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*SIMULATE, *flags],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in shipped_names() if name != TOUR])
def test_a_sound_plugin_plays_every_scenario_that_is_shipped(scratch: Path, name: str) -> None:
    ended = simulate(scratch, "--scenario", name)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout.startswith(f"{name}: ")
    assert re.search(r"\n(\d+) of \1 steps ok in ", ended.stdout)
    assert list(scratch.iterdir()) == []


BLIND_TO_OTHERS = """
from teeplugin_backends.base import TeeMemory
from teeplugin_backends.simulated import SimulatedTee

memory = SimulatedTee.memory

async def all_free(self):
    total_bytes = (await memory(self)).total_bytes
    return TeeMemory(total_bytes=total_bytes, free_bytes=total_bytes)

SimulatedTee.memory = all_free
"""

BELIEVES_AT_ONCE = """
from teeplugin_backends import base, simulated

simulated._FAULTS = {**simulated._FAULTS, "busy": base.Unreachable}
"""

NEVER_LOOKS_AT_THE_NODE = """
from teeplugin.tee import poller

poller.missing_below = lambda root, paths: ()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mischief", "told"),
    [
        ("shortage", BLIND_TO_OTHERS, "step 4 of 8, external use of 20 units (shortage line "),
        ("faults", BELIEVES_AT_ONCE, "step 4 of 11, busy changes nothing (faults line "),
        (
            "missing-device",
            NEVER_LOOKS_AT_THE_NODE,
            "step 4 of 5, /dev/teelog disappears (missing-dev",
        ),
    ],
)
def test_a_broken_plugin_fails_a_scenario_at_its_step(
    scratch: Path, tmp_path: Path, name: str, mischief: str, told: str
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        f"{mischief}\nimport teeplugin.cli.main as cli\nraise SystemExit(cli.main())\n"
    )
    plugin = shlex.join([sys.executable, str(script)])
    ended = simulate(scratch, "--scenario", name, "--plugin", plugin)
    assert ended.returncode == 1, ended.stdout
    report = " ".join(ended.stdout.split())
    assert f"FAILED at {told}" in report
    assert ": expected " in report
    assert ", seen " in report
    assert "the plugin's last lines:" in report
    assert list(scratch.iterdir()) == []


def test_a_scenario_of_ones_own_is_played_from_its_file(scratch: Path, tmp_path: Path) -> None:
    scenario = tmp_path / "own.yaml"
    scenario.write_text(
        """\
description: a kubelet alone
steps:
  - kubelet: start
  - expect: {registered: yes}
    within: 0.1
"""
    )
    ended = simulate(scratch, "--scenario", str(scenario), "--total", "1GiB")
    assert ended.returncode == 1
    assert ended.stdout.startswith(f"{scenario}: a kubelet alone\n")
    assert "a simulated TEE of 1 GiB in units of 512 KiB" in ended.stdout
    assert (
        f"FAILED at step 2 of 2, look ({scenario} line 4): "
        "expected huawei.com/tee-ram registered, seen no registration"
    ) in " ".join(ended.stdout.split())


def test_a_mistake_in_a_scenario_is_one_line_and_nothing_is_played(
    scratch: Path, tmp_path: Path
) -> None:
    scenario = tmp_path / "own.yaml"
    scenario.write_text("steps:\n  - kubelet: stop\n")
    ended = simulate(scratch, "--scenario", str(scenario))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"tee-device-plugin: {scenario} line 2: kubelet: stop: the kubelet doesn't run: "
        "write `kubelet: start` before\n"
    )


def test_the_help_lists_the_scenarios(scratch: Path) -> None:
    text = simulate(scratch, "--help").stdout
    assert [name for name in shipped_names() if f"\n  {name} " not in text] == []


def test_a_scenario_that_needs_more_units_says_how_many(scratch: Path) -> None:
    ended = simulate(scratch, "--scenario", "capacity", "--total", "10MiB")
    assert ended.returncode == 2
    assert ended.stderr == (
        "tee-device-plugin: --total 10MiB with --precision 512 makes 20 units, and the "
        "scenario capacity needs 100: give a total of at least 50 MiB\n"
    )
