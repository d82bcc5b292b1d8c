"""Every log event and metric is documented as it is, and no other."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import pytest
from prometheus_client.metrics_core import Metric

from teeplugin.telemetry.metrics import PluginCollector
from tests.running_parts import running_in_dra_mode, running_in_full
from tests.unit.test_docs import _CODE, ROOT, rows

LEVELS = {"debug", "info", "warning", "error", "critical"}


# Events


@dataclass(frozen=True)
class Event:
    """A log event, from all the places that log it, or as it is documented."""

    levels: frozenset[str]
    fields: frozenset[str]
    more_fields: bool = field(default=False, compare=False)


def _is_logger(node: ast.expr) -> bool:
    return ast.unparse(node) in {"_log", "self._log", "get_logger()"}


def _event_name(call: ast.Call) -> str | None:
    """The event that a call logs, if it is a call that logs one by name."""
    function = call.func
    if not (isinstance(function, ast.Attribute) and function.attr in LEVELS):
        return None
    if not (_is_logger(function.value) and call.args and isinstance(call.args[0], ast.Constant)):
        return None
    return str(call.args[0].value)


def _event(call: ast.Call) -> Event:
    names = {keyword.arg for keyword in call.keywords if keyword.arg}
    if "exc_info" in names:
        names = names - {"exc_info"} | {"error", "traceback"}
    assert isinstance(call.func, ast.Attribute)
    return Event(
        frozenset({call.func.attr}),
        frozenset(names),
        any(keyword.arg is None for keyword in call.keywords),
    )


@cache
def emitted() -> Mapping[str, Event]:
    events: dict[str, Event] = {}
    for path in sorted((ROOT / "teeplugin").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or (name := _event_name(node)) is None:
                continue
            new, old = _event(node), events.get(name, Event(frozenset(), frozenset()))
            events[name] = Event(
                old.levels | new.levels,
                old.fields | new.fields,
                old.more_fields or new.more_fields,
            )
    return events


def documented() -> Mapping[str, Event]:
    events: dict[str, Event] = {}
    for cells in rows("docs/events.md"):
        if len(cells) == 5 and (name := _CODE.fullmatch(cells[0])):
            assert name[1] not in events, f"{name[1]} stands twice"
            levels = frozenset(cells[1].split(", "))
            events[name[1]] = Event(levels, frozenset(_CODE.findall(cells[2])))
    return events


def test_every_event_is_documented_and_every_documented_one_is_logged() -> None:
    assert len(emitted()) > 10
    assert set(documented()) == set(emitted())


@pytest.mark.parametrize("name", sorted(emitted()))
def test_an_events_level_and_fields_are_documented(name: str) -> None:
    told, logged = documented()[name], emitted()[name]
    assert told.levels == logged.levels
    assert logged.fields <= told.fields
    assert logged.more_fields or told.fields <= logged.fields


# Metrics


def metrics() -> Iterator[Metric]:
    """What the plugin's own collector yields, from parts that have everything to tell."""
    yield from PluginCollector(running_in_full()).collect()
    seen = {metric.name for metric in PluginCollector(running_in_full()).collect()}
    in_dra_mode = PluginCollector(running_in_dra_mode()).collect()
    yield from (metric for metric in in_dra_mode if metric.name not in seen)


def metric_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_every_metric_is_documented_with_its_type_and_labels() -> None:
    told = {cells[0].strip("`"): cells[1:3] for cells in rows("docs/metrics.md")}
    for metric in metrics():
        kind, labels = told.pop(metric_name(metric))
        assert kind == metric.type, metric.name
        own = {
            label
            for sample in metric.samples
            for label in sample.labels
            if label not in {"resource", "le"}
        }
        assert set(_CODE.findall(labels)) == own, metric.name
    assert [name for name in told if name.startswith("teeplugin_")] == []
