"""Reads a scenario: a YAML file by its path, or a shipped one by its name."""

import os
from itertools import chain
from pathlib import Path

from teeplugin.config.given import Given
from teeplugin.config.settings import ConfigError, nearest, shown, shown_path
from teeplugin.config.yaml_nodes import fault_at, parsed, read_text
from teeplugin.simulator.scenario_runner.course import Course
from teeplugin.simulator.scenario_runner.scenario import SHIPPED, Scenario, shipped_names
from teeplugin.simulator.scenario_runner.values import Entry

SUFFIXES = (".yaml", ".yml")


def read_scenario(file: Given) -> Scenario:
    """Read what `file` names.

    Raises:
        ConfigError: there is none, it can't be read, or something in it breaks a rule.
    """
    path = _path(file)
    name = shown_path(path)
    root = parsed(name, read_text(path, file))
    if root is None:
        raise ConfigError(f"{name} line 1: is empty: write a scenario, with `steps:`")
    scenario = Scenario.model_validate(Entry(name, "the scenario", root))
    if not scenario.steps:
        raise fault_at(name, root, "steps: is missing: write `steps:` and a list below it")
    course = Course()
    for step in scenario.steps:
        course.begin_step()
        for word in chain(step.words(), step.expect.words()):
            if fault := course.follow(word.key, str(word.node.value)):
                word.refuse(f"{shown(str(word.node.value))}: {fault}")
    return scenario.model_copy(update={"name": file.text or ""})


def _path(file: Given) -> Path:
    """Find the file: a word without a slash or a suffix is the name of a shipped one."""
    text = file.text or ""
    if os.sep in text or text.endswith(SUFFIXES):
        return Path(text)
    names = shipped_names()
    if text not in names:
        meant = nearest(text, names)
        guess = f"did you mean {meant}? " if meant else ""
        fix = f"{guess}there are {', '.join(names)}; a file's name ends in .yaml"
        raise file.refused("no such scenario", fix)
    return SHIPPED / f"{text}.yaml"
