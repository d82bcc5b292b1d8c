"""Scenarios that tests write and read."""

from pathlib import Path

from teeplugin.config.given import Given
from teeplugin.simulator.scenario_runner.reading import read_scenario
from teeplugin.simulator.scenario_runner.scenario import Scenario


def named(text: str) -> Given:
    return Given(text, origin="flag --scenario", place="--scenario ", spelling="--scenario ")


def written(here: Path, text: str) -> Scenario:
    (here / "s.yaml").write_text(text)
    return read_scenario(named("s.yaml"))
