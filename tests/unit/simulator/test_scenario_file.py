"""Scenarios are read from YAML, and a mistake is one line with file, line, key, rule and fix."""

from pathlib import Path

import pytest

from teeplugin.config.settings import ConfigError
from teeplugin.simulator.amounts import ALL, Figures, Memory, Units
from teeplugin.simulator.profile import MODERN, OLD
from teeplugin.simulator.scenario_runner import actions, expectations
from teeplugin.simulator.scenario_runner.actions import Verb
from teeplugin.simulator.scenario_runner.reading import read_scenario
from tests.unit.simulator.scenario_files import named, written

MIB = 1024**2
FIGURES = Figures(all=128, free=100, allocated=20, unit_bytes=MIB // 2)


def refusal(here: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        written(here, text)
    told = str(caught.value)
    assert "\n" not in told
    return told


# What is read


def test_the_head_says_what_is_simulated(here: Path) -> None:
    scenario = written(
        here,
        """\
description: a text
needs: 10
total: 1GiB
precision: 1024
reserve: 2.5MiB
health-interval: 0.5
kubelet: {version: 1.18, listen-delay: 0.2, records-delay: 3}
steps: [kubelet: start]
""",
    )
    assert (scenario.name, scenario.description) == ("s.yaml", "a text")
    assert (scenario.needs_units, scenario.total_bytes) == (10, 1024 * MIB)
    assert (scenario.precision_kb, scenario.reserve_bytes) == (1024, 5 * MIB // 2)
    assert scenario.health_interval_seconds == 0.5
    assert scenario.profile.version == OLD.version
    assert not scenario.profile.serves_pod_resources
    assert scenario.profile.listen_delay_seconds == 0.2
    assert scenario.profile.sources_ready_seconds == 3


def test_what_is_not_said_is_as_usual(here: Path) -> None:
    scenario = written(here, "steps: [kubelet: start]")
    assert (scenario.description, scenario.needs_units) == ("", 1)
    assert (scenario.total_bytes, scenario.precision_kb) == (64 * MIB, 512)
    assert scenario.profile == MODERN
    (step,) = scenario.steps
    assert (step.after_seconds, step.within_seconds, step.holds_seconds) == (0, 10, 0)


def test_a_step_does_its_actions_in_their_order_and_expects_of_their_end(here: Path) -> None:
    scenario = written(
        here,
        """\
steps:
  - kubelet: start
  - step: much at once
    after: 1
    expect: {listed: all, healthy: all - 20, refused: large, fits: 5, keeps: [one, two]}
    plugin: start
    admit: {one: 10, two: {units: free - 1, uses: 2 units}, large: all}
    use: {one: 1MiB}
    tee: {others: 20 units, fault: busy, latency: 0.5}
    missing: [/dev/teelog]
    within: 2
    holds: 3
""",
    )
    step = scenario.steps[1]
    assert (step.line, step.title) == (3, "much at once")
    assert (step.after_seconds, step.within_seconds, step.holds_seconds) == (1, 2, 3)
    assert list(step.actions) == [
        actions.PluginAction(Verb.START),
        actions.AdmitAction(
            {"one": Units("", 10), "two": Units("free", -1), "large": ALL},
            {"two": Memory(Units("", 2))},
        ),
        actions.UseAction({"one": Memory(None, MIB)}),
        actions.TeeAction(others=Memory(Units("", 20)), latency_seconds=0.5, fault="busy"),
        actions.MissingAction(("/dev/teelog",)),
    ]
    assert list(step.expectations) == [
        expectations.Health(Units("all", -20), ALL),
        expectations.Refused("large"),
        expectations.Keeps("one"),
        expectations.Keeps("two"),
    ]
    assert step.afterwards == actions.FitsAction(Units("", 5))


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("7", 7),
        ("all", 128),
        ("all - 10", 118),
        ("free+1", 101),
        ("allocated", 20),
        ("allocated - 30", 0),
    ],
)
def test_units_are_worked_out_by_what_there_is(text: str, units: int) -> None:
    assert Units.of(text).count(FIGURES) == units


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("10MiB", 10 * MIB),
        ("20 units", 10 * MIB),
        ("all - 126 units", MIB),
        ("1 unit", MIB // 2),
    ],
)
def test_memory_is_a_size_or_a_number_of_units(text: str, size_bytes: int) -> None:
    assert Memory.of(text).bytes(FIGURES) == size_bytes


# What is refused


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "s.yaml line 1: is empty: write a scenario, with `steps:`"),
        ("- a", "s.yaml line 1: the scenario: must be a mapping: write `KEY: VALUE`"),
        ("a: [", "s.yaml line 1: broken YAML: "),
        ("needs: 1", "s.yaml line 1: steps: is missing: write `steps:` and a list below it"),
        ("steps:", "s.yaml line 1: steps: must be a list of steps: begin each with `- `"),
        ("\nsteps: []", "s.yaml line 2: steps: must be a list of steps"),
        ("step: []", "s.yaml line 1: the scenario: step: unknown key: did you mean steps?"),
        ("colour: 1", "colour: unknown key: the keys are description, needs, total, precision,"),
        ("needs: 1\nneeds: 2", "s.yaml line 2: needs: given twice, first in line 1: remove one"),
        ("needs: many", "line 1: needs: many: not a number of units: give 1 to 226600"),
        ("needs: 0", "line 1: needs: 0: not a number of units: give 1 to 226600"),
        ("total: 9 units", "line 1: total: '9 units': is in units: give a size, like 64MiB"),
        ("total: much", "total: much: not a size of whole bytes: give a size with K, M, G or T"),
        ("total: 9999T", "total: 9999T: must be 1 PiB or less: give a size with K, M, G or T"),
        ("total:", "s.yaml line 1: total: null: has no value: give it one, or remove `total:`"),
        (
            "precision: 511",
            "line 1: precision: 511: must be 512 or more: give a whole number of KB",
        ),
        ("reserve: x", "line 1: reserve: x: not a size of whole bytes: give a number with K, M"),
        ("health-interval: -1", "line 1: health-interval: -1: must be 0 or more"),
        ("kubelet: 1.18", "line 1: kubelet: must be a mapping: write `KEY: VALUE` in lines below"),
        ("kubelet: {version: 1.2}", "1.2: not one of its words: give one of 1.37, 1.36, 1.18"),
        ("kubelet: {versoin: 1}", "line 1: kubelet: versoin: unknown key: did you mean version?"),
        (
            "kubelet: {records-delay: x}",
            "records-delay: x: not a number of seconds: give a number of",
        ),
        ("kubelet: {records-delay: 4000}", "line 1: records-delay: 4000: must be 0 to 3600: give"),
        ("description: [a]", "line 1: description: must be one value, not a list: write"),
        ("description: !x a", "line 1: description: has the tag !x: remove the tag"),
        ('description: "\\ud800"', "line 1: description: '\\ud800': not UTF-8: write it in UTF-8"),
        ("name: tour", "line 1: the scenario: name: unknown key: the keys are description, needs,"),
    ],
)
def test_a_mistake_in_the_head_is_told_with_its_line(here: Path, text: str, told: str) -> None:
    assert told in refusal(here, text)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("x", "line 4: a step: must be a mapping: write `KEY: VALUE` in lines below it"),
        ("{}", "line 4: a step: does and expects nothing: write one of kubelet, plugin, tee,"),
        ("{after: 1}", "line 4: a step: does and expects nothing"),
        ("{exepct: {}}", "line 4: a step: exepct: unknown key: did you mean expect?"),
        ("{after: soon, kubelet: stop}", "after: soon: not a number of seconds: give a number of"),
        ("{within: -1, kubelet: stop}", "within: -1: must be 0 to 3600: give a number of seconds"),
        ("{step: [a], kubelet: stop}", "line 4: step: must be one value, not a list"),
        (
            "{kubelet: go}",
            "line 4: kubelet: go: not one of its words: give one of start, stop, kill",
        ),
        ("{kubelet: hang-up}", "give one of start, stop, kill, restart"),
        ("{kubelet: start}", "the kubelet runs already: write `kubelet: restart`, or stop it"),
        ("{plugin: stop}", "line 4: plugin: stop: the plugin doesn't run: write `plugin: start` b"),
        ("{plugin: hang-up}", "line 4: plugin: hang-up: the plugin doesn't run"),
        ("{tee: {fault: sad}}", "fault: sad: not one of its words: give one of none, unreachable,"),
        ("{tee: {other: 1}}", "line 4: tee: other: unknown key: did you mean others?"),
        (
            "{tee: {others: all}}",
            "others: all: not a size of whole bytes: give a size with K, M, G",
        ),
        ("{tee: {others: 1 2 units}}", "others: '1 2 units': not a number of units: give a size"),
        ("{tee: {latency: long}}", "line 4: latency: long: not a number of seconds"),
        (
            "{missing: /dev/null}",
            "missing: /dev/null: not a path that containers need: giv",
        ),
        ("{missing: [none, /dev/teelog]}", "missing: none: not a path that containers need"),
        ("{admit: two}", "line 4: admit: must be a mapping"),
        ("{admit: {two: many}}", "two: many: not a number of units: give a whole number, or all,"),
        ("{admit: {two: 12345678}}", "line 4: two: 12345678: not a number of units"),
        ("{admit: {two: {uses: 1M}}}", "line 4: two: units: is missing: write `units: 10`"),
        ("{admit: {two: {unit: 1}}}", "line 4: two: unit: unknown key: did you mean units?"),
        ("{admit: {Two: 1}}", "line 4: admit: Two: not a pod's name: give at most 63 lower-case"),
        ("{admit: {next: 1}}", "admit: next: is the name of the pod that `fits` tries: give it"),
        ("{admit: {one: 1}}", "admit: one: exists already: remove it first, or give it another"),
        ("{remove: one1}", "line 4: remove: one1: no such pod: did you mean one?"),
        ("{remove: [one, one]}", "line 4: remove: one: no such pod: admit it in a step"),
        ("{use: {two: 1M}}", "line 4: use: two: no such pod: admit it in a step before"),
        ("{expect: {helthy: 1}}", "line 4: expect: helthy: unknown key: did you mean healthy?"),
        ("{expect: {healthy: most}}", "healthy: most: not a number of units: give a whole number"),
        ("{expect: {listed: all + }}", "line 4: listed: 'all +': not a number of units"),
        ("{expect: {registered: 1}}", "registered: 1: not one of its words: give one of yes, true"),
        ("{expect: {keeps: two}}", "line 4: keeps: two: no such pod"),
        ("{expect: {restarts: [one, two]}}", "line 4: restarts: two: no such pod"),
        (
            "{expect: {refused: one}}",
            "refused: one: is not admitted in this step: write `admit: {o",
        ),
        ("{expect: {exit: 256}}", "line 4: exit: 256: not an exit status: give 0 to 255"),
        ("{expect: {exit: 0}}", "line 4: exit: 0: the plugin doesn't run: write `plugin: start`"),
        ("{expect: {fits: x}}", "line 4: fits: x: not a number of units"),
        ("{expect: {logged: {a: b}}}", "line 4: logged: must be one value, not a mapping"),
    ],
)
def test_a_mistake_in_a_step_is_told_with_its_line(here: Path, step: str, told: str) -> None:
    text = f"steps:\n  - kubelet: start\n  - admit: {{one: 1}}\n  - {step}\n"
    line = refusal(here, text)
    assert line.startswith("s.yaml line 4: ")
    assert told in line


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("colour: 1", "line 4: a step: colour: unknown key"),
        ("admit:\n      two: 1\n      one: 1", "line 6: admit: one: exists already"),
        ("admit:\n      two:\n        uses: 1M", "line 6: two: units: is missing"),
        ("admit:\n      two:\n        units: 1\n        use: 1M", "line 7: two: use: unknown key"),
        ("remove:\n      - one\n      - one", "line 6: remove: one: no such pod"),
        ("expect:\n      keeps:\n      - one\n      - two", "line 7: keeps: two: no such pod"),
        ("tee:\n      others: 1M\n      fault: sad", "line 6: fault: sad: not one of its words"),
        ("missing:\n    - /dev/teelog\n    - x", "line 6: missing: x: not a path that"),
    ],
)
def test_a_mistake_is_told_with_the_line_that_it_is_in_and_not_that_of_its_step(
    here: Path, written: str, told: str
) -> None:
    text = f"steps:\n  - admit: {{one: 1}}\n  - step: this\n    {written}\n"
    assert refusal(here, text).startswith(f"s.yaml {told}")


def test_a_step_may_be_written_once_and_played_twice(here: Path) -> None:
    scenario = written(here, "steps: [&on {plugin: start, expect: {exit: 0}}, *on]")
    assert [list(step.actions) for step in scenario.steps] == [
        [actions.PluginAction(Verb.START)],
        [actions.PluginAction(Verb.START)],
    ]


def test_a_list_that_is_in_itself_is_refused(here: Path) -> None:
    told = "s.yaml line 1: logged: must be one value, not a list"
    assert refusal(here, "steps: [expect: {logged: &own [*own]}]").startswith(told)


def test_a_pod_that_was_refused_is_not_there(here: Path) -> None:
    text = """\
steps:
  - admit: {one: 1}
    expect: {refused: one}
  - remove: one
"""
    assert "s.yaml line 4: remove: one: no such pod" in refusal(here, text)


def test_a_plugin_that_ended_by_itself_may_be_started_again(here: Path) -> None:
    written(here, "steps: [{plugin: start, expect: {exit: 2}}, {plugin: start}]")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("tuor", "--scenario tuor: no such scenario: did you mean tour? there are tour, capacity,"),
        ("a b", "--scenario 'a b': no such scenario: there are tour,"),
        ("nothing.yaml", "--scenario nothing.yaml: can't be read (No such file or directory): giv"),
        ("./nothing", "--scenario ./nothing: can't be read (No such file or directory)"),
        ("/dev/zero", "--scenario /dev/zero: not a regular file"),
        ("", "--scenario '': no such scenario: "),
    ],
)
def test_a_scenario_that_is_not_there_is_told(here: Path, name: str, told: str) -> None:
    assert here.exists()
    with pytest.raises(ConfigError) as caught:
        read_scenario(named(name))
    assert told in str(caught.value)
