"""Alerts, dashboard and README ask for what a running plugin tells, by names, labels and values."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from teeplugin.policy.decide import KUBELET_WITHOUT_CDI, OF_THE_NODE
from teeplugin.simulator import SimulatedKubelet
from teeplugin_backends import base
from teeplugin_backends.libteec.process import HelperProcesses
from tests.contract.under_test import Simulated
from tests.http import get, telemetry_of
from tests.monitoring import expressions
from tests.monitoring.files import ROOT, queries, readme, rule_file
from tests.monitoring.files import expressions as all_expressions
from tests.monitoring.node import (
    AT_TIMES,
    PROMETHEUS_METRICS,
    RESOURCE,
    TARGET,
    exposition,
    labels_of_metrics,
    sampled,
)
from tests.monitoring.promtool import Promtool, firing
from tests.plugin_process import UNIT_BYTES, Plugin
from tests.waiting import eventually

UNITS = 128
KINDS = {
    kind.kind
    for _, kind in inspect.getmembers(base, inspect.isclass)
    if issubclass(kind, base.TeeError) and kind is not base.TeeError
}


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    async with SimulatedKubelet(kubelet_dir) as simulated:
        yield Simulated(simulated, tmp_path / "node")


@pytest.fixture
async def told(kubelet: Simulated, tmp_path: Path) -> tuple[str, str]:
    """What a plugin says with two pods and a good TEE, and once that has failed."""
    plugin = Plugin(
        tmp_path,
        kubelet_dir=kubelet.kubelet_dir,
        host_root=kubelet.host_root,
        listen="127.0.0.1:0",
    )
    with plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        for pod in ("one", "two"):
            await kubelet.admit(pod, 5)
        plugin.play(pods=10 * UNIT_BYTES)

        async def page() -> str:
            return (await get(address, "/metrics")).text

        well = await eventually(
            "both pods and their use are seen",
            page,
            until=lambda text: (
                text.count("teeplugin_container_allocated_units{") == 2
                and "teeplugin_external_use_min_bytes{" in text
            ),
        )
        plugin.play(fault="unreachable")
        failed = await eventually(
            "the fault is seen", page, until=lambda text: "teeplugin_tee_fault{" in text
        )
    return well, failed


def shapes(families: Iterable[Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """Each family's type and the labels of its samples."""
    return {
        family.name: (family.type, frozenset(label for each in family.samples for label in each[1]))
        for family in families
    }


def counted_events(families: Mapping[str, tuple[str, frozenset[str]]]) -> dict[str, object]:
    return {name: shape for name, shape in families.items() if name != "teeplugin_backend_events"}


@pytest.mark.anyio
async def test_the_sample_has_the_metrics_of_a_running_plugin_and_no_others(
    told: tuple[str, str],
) -> None:
    well, failed = (shapes(text_string_to_metric_families(text)) for text in told)
    every = shapes(text_string_to_metric_families(exposition()))
    # Those of limits come with `cdi: on`.
    sample = {name: each for name, each in every.items() if "teeplugin_limit_" not in name}
    assert len(every) == len(sample) + 4
    assert well["teeplugin_tee_fault"] == ("gauge", frozenset())
    assert {name: labels for name, (_, labels) in failed.items() if name in AT_TIMES} == AT_TIMES
    parts = {name: shape for name, shape in well.items() if name not in AT_TIMES}
    # The simulated TEE counts no events; those of libteec have the next test.
    assert counted_events(parts) == counted_events(sample)
    assert parts.keys() == sample.keys()


def test_the_sample_has_the_events_that_libteec_counts() -> None:
    events = {
        dict(sample.series.labels)["event"]
        for sample in sampled(exposition())
        if sample.series.name == "teeplugin_backend_events_total"
    }
    assert events == set(HelperProcesses("/usr/bin/client").counters)


@pytest.mark.anyio
async def test_no_alert_fires_on_what_a_running_plugin_says(
    told: tuple[str, str], promtool: Promtool
) -> None:
    # Its times of day are left out: promtool's clock begins at 0.
    series = {
        str(sample.series): f"{sample.value!r}x30"
        for sample in sampled(told[0])
        if not sample.series.name.endswith("_timestamp_seconds")
    }
    up = {f'up{{job="{TARGET["job"]}"}}': "1x30"}
    promtool.test(rule_file(), series | up, [firing(30, {})])


@pytest.mark.parametrize("where", all_expressions())
def test_every_metric_that_is_asked_for_is_told(where: str) -> None:
    wanted = expressions.metrics(all_expressions()[where])
    assert wanted
    assert wanted - labels_of_metrics().keys() == set()


@pytest.mark.parametrize("where", all_expressions())
def test_every_label_that_is_asked_for_is_there(where: str) -> None:
    expression, known = all_expressions()[where], labels_of_metrics()
    for wanted in expressions.matched(expression):
        assert wanted.label in known[wanted.metric], wanted
    there = frozenset[str]().union(*(known[name] for name in expressions.metrics(expression)))
    assert expressions.grouped(expression) - there == set()


@pytest.mark.parametrize("where", all_expressions())
def test_every_value_that_is_asked_for_can_come(where: str) -> None:
    told = {
        (sample.series.name, label, value)
        for sample in sampled(exposition())
        for label, value in sample.series.labels
    }
    told |= {("up", label, value) for label, value in TARGET.items()}
    told |= {("ALERTS", "alertstate", "firing")}
    told |= {(name, "resource", RESOURCE) for name in AT_TIMES}
    for wanted in expressions.matched(all_expressions()[where]):
        assert wanted.value is None or (wanted.metric, wanted.label, wanted.value) in told, wanted


def test_every_metric_of_the_plugin_is_on_the_dashboard() -> None:
    shown = frozenset[str]().union(*(expressions.metrics(query.expression) for query in queries()))
    ours = {name for name in labels_of_metrics() if name.startswith("teeplugin_")}
    # A histogram's sum and count tell a mean; the dashboard shows how the times are spread.
    of_histograms = {name for name in ours if name.endswith(("_seconds_sum", "_seconds_count"))}
    assert ours - of_histograms - shown == set()
    assert {"up", "ALERTS"} == set(PROMETHEUS_METRICS)


def test_every_metric_that_the_readme_names_is_told() -> None:
    named = set(re.findall(r"\bteeplugin_\w+", readme()))
    assert named
    assert named - labels_of_metrics().keys() == set()


def test_the_page_that_the_alert_leads_to_says_what_to_do_for_each_cause() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = page.partition("### The causes of a fault")[2].partition("\n### ")[0]
    told = re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)
    assert sorted(told) == sorted({*KINDS, *OF_THE_NODE, KUBELET_WITHOUT_CDI})
