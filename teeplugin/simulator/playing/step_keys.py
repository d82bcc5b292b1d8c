"""What a step of a scenario may do and expect, by its keys in YAML; called by reading.

A new thing to do or to expect is a class in `actions` or `expectations`, and a row at the end here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import yaml

from teeplugin.config.validators import whole_number
from teeplugin.simulator.amounts import Memory, Units
from teeplugin.simulator.played_tee import FAULTS, NO_FAULT
from teeplugin.simulator.playing import actions, expectations
from teeplugin.simulator.playing.actions import Action, Verb
from teeplugin.simulator.playing.course import Course
from teeplugin.simulator.playing.expectations import Expectation
from teeplugin.simulator.playing.nodes import Source
from teeplugin.simulator.stage import NODE_PATHS

ReadAction = Callable[[Source, Course, str, yaml.Node], Action]
ReadExpectation = Callable[[Source, Course, str, yaml.Node], Iterator[Expectation]]

NOTHING = "none"

_YES, _NO = ("yes", "true"), ("no", "false")
_MOST_STATUS = 255


def choice(source: Source, key: str, node: yaml.Node, words: Collection[str]) -> str:
    """Read one of some words.

    Raises:
        ConfigError: it is none of them.
    """
    given = source.scalar(key, node)
    if given.text is None or given.text not in words:
        raise given.refused("not one of its words", f"give one of {', '.join(words)}")
    return given.text


# Actions


def _kubelet(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    verb = Verb(choice(source, key, node, actions.KUBELET_VERBS))
    course.verb(key, verb, source.scalar(key, node))
    return actions.KubeletAction(verb)


def _plugin(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    verb = Verb(choice(source, key, node, actions.PLUGIN_VERBS))
    course.verb(key, verb, source.scalar(key, node))
    return actions.PluginAction(verb)


def _tee(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    del course
    readers: Mapping[str, Callable[[str, yaml.Node], Any]] = {
        "total": source.memory,
        "others": source.memory,
        "latency": source.seconds,
        "fault": partial(choice, source, words=(NO_FAULT, *FAULTS)),
    }
    found = {name: read(name, value) for name, read, value in source.known(key, node, readers)}
    return actions.TeeAction(latency_seconds=found.pop("latency", None), **found)


def _missing(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    del course
    given = source.words(key, node)
    if [each.text for each in given] == [NOTHING]:
        return actions.MissingAction(())
    for each in given:
        if each.text not in NODE_PATHS:
            words = ", ".join((NOTHING, *NODE_PATHS))
            raise each.refused("not a path that containers are promised", f"give one of {words}")
    return actions.MissingAction(tuple(str(each.text) for each in given))


def _admit(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    pods: dict[str, Units] = {}
    uses: dict[str, Memory] = {}
    for _, name_node, value in source.entries(key, node):
        pod = course.admitted(source.scalar(key, name_node))
        if not isinstance(value, yaml.MappingNode):
            pods[pod] = source.units(pod, value)
            continue
        readers: Mapping[str, Callable[[str, yaml.Node], Any]] = {
            "units": source.units,
            "uses": source.memory,
        }
        found = {name: read(name, each) for name, read, each in source.known(pod, value, readers)}
        if "units" not in found:
            raise source.fault(value, f"{pod}: units: is missing: write `units: 10`")
        pods[pod] = found["units"]
        uses |= {pod: found["uses"]} if "uses" in found else {}
    return actions.AdmitAction(pods, uses)


def _remove(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    return actions.RemoveAction(tuple(map(course.removed, source.words(key, node))))


def _use(source: Source, course: Course, key: str, node: yaml.Node) -> Action:
    pods = {
        course.there(source.scalar(key, name_node)): source.memory(name, value)
        for name, name_node, value in source.entries(key, node)
    }
    return actions.UseAction(pods)


# Expectations


def _registered(source: Source, _: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield expectations.Registered(choice(source, key, node, (*_YES, *_NO)) in _YES)


def _healthy(source: Source, _: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield expectations.Health(source.units(key, node))


def _listed(source: Source, _: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield expectations.Listed(source.units(key, node))


def _free(source: Source, _: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield expectations.Free(source.units(key, node))


def _keeps(source: Source, course: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield from (expectations.Keeps(course.there(each)) for each in source.words(key, node))


def _restarts(source: Source, course: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield from (expectations.Restarts(course.there(each)) for each in source.words(key, node))


def _refused(source: Source, course: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield from (expectations.Refused(course.refused(each)) for each in source.words(key, node))


def _logged(source: Source, _: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    yield from (expectations.Logged(str(each.text)) for each in source.words(key, node))


def _exit(source: Source, course: Course, key: str, node: yaml.Node) -> Iterator[Expectation]:
    given = source.scalar(key, node)
    status = whole_number(given.text)
    if not (isinstance(status, int) and 0 <= status <= _MOST_STATUS):
        raise given.refused("not an exit status", f"give 0 to {_MOST_STATUS}")
    course.plugin_ends(given)
    yield expectations.Exit(status)


ACTIONS: Mapping[str, ReadAction] = {
    "kubelet": _kubelet,
    "plugin": _plugin,
    "tee": _tee,
    "missing": _missing,
    "admit": _admit,
    "remove": _remove,
    "use": _use,
}
EXPECTATIONS: Mapping[str, ReadExpectation] = {
    "registered": _registered,
    "healthy": _healthy,
    "listed": _listed,
    "free": _free,
    "keeps": _keeps,
    "restarts": _restarts,
    "refused": _refused,
    "logged": _logged,
    "exit": _exit,
}
