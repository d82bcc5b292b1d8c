"""Reads a scenario: a YAML file by its path, or a shipped one by its name; called by the command.

The keys of a file are in `HEAD` and `steps`, those of a step in `TIMES`, and in step_keys.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from teeplugin.config.given import Given
from teeplugin.config.settings import SETTINGS, nearest
from teeplugin.config.sources import validated
from teeplugin.config.validators import whole_number
from teeplugin.policy.units import MAX_UNITS
from teeplugin.simulator.playing.actions import Action, FitsAction
from teeplugin.simulator.playing.course import Course
from teeplugin.simulator.playing.expectations import Expectation, Health, Listed
from teeplugin.simulator.playing.nodes import Source
from teeplugin.simulator.playing.scenario import SHIPPED, Scenario, Step, shipped_names
from teeplugin.simulator.playing.step_keys import ACTIONS, EXPECTATIONS, choice
from teeplugin.simulator.profile import MODERN, OLD, Profile

PROFILES: Mapping[str, Profile] = {profile.version: profile for profile in (MODERN, OLD)}
"""The kubelets that can be simulated, by their versions."""

SUFFIXES = (".yaml", ".yml")

_STEP = "a step"
_EXPECT, _FITS, _TITLE = "expect", "fits", "step"
TIMES = {"after": "after_seconds", "within": "within_seconds", "holds": "holds_seconds"}


def read_scenario(file: Given) -> Scenario:
    """Read what `file` names.

    Raises:
        ConfigError: there is none, it can't be read, or something in it breaks a rule.
    """
    path = _path(file)
    source = Source.of(path, file)
    values: dict[str, Any] = {"description": ""}
    for key, read, node in source.known("the scenario", source.root, {**HEAD, "steps": _steps}):
        values |= read(source, key, node)
    if "steps" not in values:
        raise source.fault(source.root, "steps: is missing: write `steps:` and a list below it")
    return Scenario(name=file.text or "", **values)


def _path(file: Given) -> Path:
    """Find the file: a word without a slash or a suffix is the name of a shipped one."""
    text = file.text or ""
    if os.sep in text or text.endswith(SUFFIXES):
        return Path(text)
    names = shipped_names()
    if text not in names:
        meant = nearest(text, names)
        guess = f"did you mean {meant}? " if meant else ""
        cure = f"{guess}there are {', '.join(names)}; a file's name ends in .yaml"
        raise file.refused("no such scenario", cure)
    return SHIPPED / f"{text}.yaml"


# The head: what is simulated

ReadHead = Callable[[Source, str, yaml.Node], dict[str, Any]]


def _description(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    return {"description": source.scalar(key, node).text}


def _needs(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    given = source.scalar(key, node)
    units = whole_number(given.text)
    if not (isinstance(units, int) and 1 <= units <= MAX_UNITS):
        raise given.refused("not a number of units", f"give 1 to {MAX_UNITS}")
    return {"needs_units": units}


def _total(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    memory = source.memory(key, node)
    if memory.units is not None:
        raise source.scalar(key, node).refused("is in units", "give a size, like 64MiB")
    return {"total_bytes": memory.size_bytes}


def _setting(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    """Read it by the rules of the plugin, which is going to be started with it."""
    settings = validated({key: source.scalar(key, node)}, {}, ())
    return {SETTINGS[key].attribute: getattr(settings, SETTINGS[key].attribute)}


def _kubelet(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    found: dict[str, yaml.Node] = {
        name: value for name, _, value in source.known(key, node, _KUBELET)
    }
    version = found.pop("version", None)
    profile = MODERN
    if version is not None:
        profile = PROFILES[choice(source, "version", version, PROFILES)]
    times: dict[str, Any] = {
        _KUBELET[name]: source.seconds(name, value) for name, value in found.items()
    }
    return {"profile": replace(profile, **times)}


_KUBELET = {
    "version": "",
    "listen-delay": "listen_delay_seconds",
    "books-delay": "sources_ready_seconds",
}
HEAD: Mapping[str, ReadHead] = {
    "description": _description,
    "needs": _needs,
    "total": _total,
    "precision": _setting,
    "reserve": _setting,
    "health-interval": _setting,
    "kubelet": _kubelet,
}


# The steps


def _steps(source: Source, key: str, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise source.fault(node, f"{key}: must be a list of steps: begin each with `- `")
    course = Course()
    return {"steps": [_step(source, course, each) for each in node.value]}


def _step(source: Source, course: Course, node: yaml.Node) -> Step:
    course.step()
    keys = dict.fromkeys((_TITLE, *TIMES, *ACTIONS, _EXPECT))
    found = {name: value for name, _, value in source.known(_STEP, node, keys)}
    # Expectations are of what is there once the step has done its work, wherever they stand.
    actions = [
        read(source, course, name, found[name]) for name in found if (read := ACTIONS.get(name))
    ]
    expected: Sequence[Expectation] = ()
    afterwards: Action | None = None
    if _EXPECT in found:
        expected, afterwards = _expect(source, course, found[_EXPECT])
    elif not actions:
        raise source.fault(
            node, f"{_STEP}: does and expects nothing: write one of {', '.join(ACTIONS)}, {_EXPECT}"
        )
    times = {
        attribute: source.seconds(name, found[name])
        for name, attribute in TIMES.items()
        if name in found
    }
    title = source.scalar(_TITLE, found[_TITLE]).text if _TITLE in found else ""
    return Step(
        line=source.line(node),
        title=title or "",
        actions=actions,
        expectations=expected,
        afterwards=afterwards,
        **times,
    )


def _expect(
    source: Source, course: Course, node: yaml.Node
) -> tuple[Sequence[Expectation], Action | None]:
    """Read what is expected, and what is tried out last of all."""
    found: list[Expectation] = []
    afterwards: Action | None = None
    keys = {**EXPECTATIONS, _FITS: None}
    for name, read, value in source.known(_EXPECT, node, keys):
        if read is None:
            afterwards = FitsAction(source.units(name, value))
        else:
            found += read(source, course, name, value)
    listed = next((each for each in found if isinstance(each, Listed)), None)
    healthy = next((each for each in found if isinstance(each, Health)), None)
    if listed is None or healthy is None:
        return found, afterwards
    # They are told together, as "100 of 128".
    both = replace(healthy, listed=listed.listed)
    found = [both if each is healthy else each for each in found if each is not listed]
    return found, afterwards
