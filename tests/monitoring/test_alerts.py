"""Each alert fires when it should and not otherwise, in promtool's own play of the rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from tests.monitoring.files import rule_file, rules
from tests.monitoring.node import input_series
from tests.monitoring.promtool import Expected, Promtool, Words, firing
from tests.monitoring.quiet_scenarios import QUIET
from tests.monitoring.scenarios import FAULT, FIRES, REFUSED, Fires, Quiet

_TEMPLATE = re.compile(r"{{ (.*?) }}")


def filled(text: str, labels: Mapping[str, str], value: str) -> str:
    """Put labels and the value, as a scenario states them, where a template names them."""

    def put(found: re.Match[str]) -> str:
        what = found[1]
        if what.startswith("$value"):
            assert value, f"the scenario doesn't say what {what} becomes"
            return value
        return labels[what.removeprefix("$labels.")]

    return _TEMPLATE.sub(put, text)


def words_of(rule: Mapping[str, Any], labels: Mapping[str, str], value: str) -> dict[str, str]:
    return {name: filled(text, labels, value) for name, text in rule["annotations"].items()}


def ever_fired(minute: int, alerts: frozenset[str]) -> Expected:
    """Expect exactly these alerts to have fired at any time up to a minute."""
    ever = f'max_over_time(ALERTS{{alertstate="firing"}}[{minute + 1}m])'
    return Expected(
        minute,
        f"max by (alertname) ({ever})",
        {f'{{alertname="{alert}"}}': 1 for alert in alerts},
    )


def test_promtool_finds_nothing_wrong_with_the_rules(promtool: Promtool) -> None:
    promtool.check_rules(rule_file())


def test_no_alert_fires_on_a_node_where_all_is_well(promtool: Promtool) -> None:
    promtool.test(rule_file(), input_series(480, {}), [ever_fired(480, frozenset())])


@pytest.mark.parametrize("scenario", FIRES, ids=str)
def test_an_alert_fires_at_its_minute_and_alone(promtool: Promtool, scenario: Fires) -> None:
    rule = rules()[scenario.alert]
    labels = scenario.all_labels(rule["labels"]["severity"])
    annotations = words_of(rule, labels, scenario.value)
    promtool.test(
        rule_file(),
        input_series(scenario.minute, scenario.changes),
        [firing(scenario.minute - 1, {}), firing(scenario.minute, {scenario.alert: 1})],
        [Words(scenario.minute, scenario.alert, labels, annotations)],
    )


@pytest.mark.parametrize("scenario", QUIET, ids=str)
def test_an_alert_does_not_fire(promtool: Promtool, scenario: Quiet) -> None:
    assert scenario.alert not in scenario.instead
    promtool.test(
        rule_file(),
        input_series(scenario.minute, scenario.changes),
        [ever_fired(scenario.minute, scenario.instead)],
    )


@pytest.mark.parametrize("alert", rules())
def test_every_alert_is_tried_both_ways(alert: str) -> None:
    assert [scenario for scenario in FIRES if scenario.alert == alert]
    assert [scenario for scenario in QUIET if scenario.alert == alert]


def test_a_fault_whose_cause_changes_at_each_scrape_fires_all_the_same(promtool: Promtool) -> None:
    changes = {FAULT: "1 stale " * 10, REFUSED: "_ 1 " + "stale 1 " * 9}
    fired = {"TeePluginTeeUnhealthy": 2}
    promtool.test(rule_file(), input_series(20, changes), [firing(4, fired), firing(15, fired)])


def test_an_alert_ends_within_three_minutes_of_its_fault(promtool: Promtool) -> None:
    ended = input_series(30, {FAULT: "1x10 stale"})
    alert = {"TeePluginTeeUnhealthy": 1}
    promtool.test(rule_file(), ended, [firing(10, alert), firing(13, {})])


def test_each_of_several_nodes_has_its_own_alert(promtool: Promtool) -> None:
    other = 'teeplugin_registered{node="node-2", instance="10.0.0.2:9840"}'
    series = input_series(10, {"teeplugin_registered": "0x10", other: "0x10"})
    promtool.test(rule_file(), series, [firing(10, {"TeePluginNotRegistered": 2})])


def test_without_any_series_the_absence_is_told(promtool: Promtool) -> None:
    promtool.test(rule_file(), {}, [firing(9, {}), firing(10, {"TeePluginAbsent": 1})])
