"""A node as Prometheus sees it: `node.prom` with a target's labels, as promtool's input series."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

RESOURCE = "huawei.com/tee-ram"
JOB = "k8s-tee-device-plugin-ds"
# As the PodMonitor has them made; the operator adds endpoint and container, which nothing reads.
TARGET = {
    "job": JOB,
    "instance": "10.0.0.1:9840",
    "namespace": "kube-system",
    "pod": "k8s-tee-device-plugin-ds-x",
    "node": "node-1",
}
# What Prometheus itself knows: whether a scrape went well, and which alerts fire.
PROMETHEUS_METRICS: Mapping[str, frozenset[str]] = {
    "up": frozenset(TARGET),
    "ALERTS": frozenset(TARGET) | {"resource", "alertname", "alertstate", "severity"},
}
# What is only there at times: while a fault stands.
AT_TIMES: Mapping[str, frozenset[str]] = {"teeplugin_tee_fault": frozenset({"resource", "cause"})}

# What grows by how much a minute where all is well: one query, with a look at the allocation
# records before and after it. promtool's clock begins at 0, so a timestamp that keeps up grows by
# 60.
_GROWTH: Mapping[str, float | Mapping[str, float]] = {
    "teeplugin_queries_total": 1.0,
    "teeplugin_query_duration_seconds_count": 1.0,
    "teeplugin_query_duration_seconds_sum": 0.015,
    "teeplugin_last_reading_timestamp_seconds": 60.0,
    "teeplugin_backend_events_total": {"helper_started": 1.0},
    "teeplugin_pod_resources_reads_total": {"ok": 2.0},
    "teeplugin_pod_resources_last_read_timestamp_seconds": 60.0,
    "teeplugin_limit_last_reconcile_timestamp_seconds": 60.0,
    "process_cpu_seconds_total": 0.03,
}
_QUERY_SECONDS = 0.015

_SERIES = re.compile(r"(\w+)(?:\{(.*)\})?")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Series:
    """The name and labels of one series."""

    name: str
    labels: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, name: str, labels: Mapping[str, str]) -> Series:
        return cls(name, frozenset(labels.items()))

    @classmethod
    def read(cls, text: str) -> Series:
        """Read `name{label="value"}` as one of the node's; labels it doesn't name are added."""
        found = _SERIES.fullmatch(text)
        assert found is not None, text
        given = dict(_LABEL.findall(found[2] or ""))
        whose = TARGET if found[1] == "up" else TARGET | {"resource": RESOURCE}
        return cls.of(found[1], whose | given)

    def __str__(self) -> str:
        labels = ", ".join(f'{name}="{value}"' for name, value in sorted(self.labels))
        return f"{self.name}{{{labels}}}"


@dataclass(frozen=True)
class Sample:
    series: Series
    value: float


def sampled(exposition: str) -> list[Sample]:
    """Read an exposition as Prometheus does, its own labels first (honor_labels)."""
    return [
        Sample(Series.of(sample.name, TARGET | sample.labels), sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    ]


def exposition() -> str:
    return (Path(__file__).parent / "node.prom").read_text(encoding="utf-8")


def labels_of_metrics() -> dict[str, frozenset[str]]:
    """The labels that each metric has in Prometheus, of the plugin and of Prometheus itself."""
    known = dict(PROMETHEUS_METRICS)
    known |= {name: labels | set(TARGET) for name, labels in AT_TIMES.items()}
    for sample in sampled(exposition()):
        names = frozenset(name for name, _ in sample.series.labels)
        known[sample.series.name] = known.get(sample.series.name, frozenset()) | names
    return known


def _growth(series: Series) -> float:
    labels = dict(series.labels)
    if series.name == "teeplugin_query_duration_seconds_bucket":
        return float(float(labels["le"]) >= _QUERY_SECONDS)
    growth = _GROWTH.get(series.name, 0.0)
    if isinstance(growth, Mapping):
        return growth.get(labels.get("event") or labels["result"], 0.0)
    return growth


def input_series(minutes: int, changes: Mapping[str, str | None]) -> dict[str, str]:
    """Make the series of a healthy node for so many minutes, one value each, and then the changes.

    A change is a series, and its values in promtool's notation, or None for no such series.
    """
    values = {Series.read("up"): f"1+0x{minutes}"}
    for sample in sampled(exposition()):
        values[sample.series] = f"{sample.value!r}+{_growth(sample.series)!r}x{minutes}"
    for text, changed in changes.items():
        series = Series.read(text)
        if changed is None:
            del values[series]
        else:
            values[series] = changed
    return {str(series): values[series] for series in values}
