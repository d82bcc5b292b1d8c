"""The dashboard can be provisioned, and each of its panels shows something on a node."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.monitoring import expressions
from tests.monitoring.files import Query, dashboard, panels, queries, rule_file
from tests.monitoring.node import input_series
from tests.monitoring.promtool import Expected, Promtool
from tests.monitoring.scenarios import FAULT

COLUMNS = 24
SHOWN_BY_GRAFANA = {"datasource", "resource", "node"}


def titled(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def difference(written: Any, read: Any, at: str = "") -> list[str]:
    """Where what was read lacks, or has otherwise, what was written."""
    if isinstance(written, dict) and isinstance(read, dict):
        found = [difference(written[key], read.get(key), f"{at}/{key}") for key in written]
        return list(itertools.chain(*found))
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        pairs = enumerate(zip(written, read, strict=True))
        return list(itertools.chain(*(difference(a, b, f"{at}/{i}") for i, (a, b) in pairs)))
    return [] if written == read else [f"{at}: {written!r} is read as {read!r}"]


def test_grafanas_own_schema_knows_all_that_is_written() -> None:
    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))
    assert difference(dashboard(), read) == []


def test_it_can_be_provisioned_anywhere() -> None:
    board = dashboard()
    # An id or inputs make it one of a certain Grafana, or one to import by hand only.
    assert "id" not in board
    assert "__inputs" not in board
    assert re.fullmatch(r"[a-z-]{1,40}", board["uid"])
    assert board["title"]
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_its_variables_are_the_data_source_the_resource_and_the_node() -> None:
    variables = {variable["name"]: variable for variable in dashboard()["templating"]["list"]}
    assert variables.keys() == SHOWN_BY_GRAFANA
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("resource", "node"):
        query = variables[name]["query"]["query"]
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        assert found is not None
        assert found[2] == name
        assert expressions.metrics(found[1].replace("$resource", "x")) == {"teeplugin_build_info"}
        assert variables[name]["datasource"]["uid"] == "${datasource}"


@pytest.mark.parametrize("panel", panels(), ids=titled)
def test_a_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


def test_panels_have_ids_and_titles_of_their_own_and_do_not_overlap() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        at = panel["gridPos"]
        cells = set(
            itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"]))
        )
        assert max(column for column, _ in cells) < COLUMNS
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_query_is_narrowed_to_what_is_chosen(query: Query) -> None:
    variables = set(re.findall(r"\$(\w+)", query.written)) - {"__rate_interval"}
    assert variables == {"resource", "node"}


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_legend_names_labels_that_the_query_keeps(query: Query) -> None:
    kept = expressions.grouped(query.expression)
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= kept


@pytest.mark.parametrize("query", queries(), ids=str)
def test_a_query_shows_something_on_a_node_that_has_had_everything(
    promtool: Promtool, query: Query
) -> None:
    # So that every panel has what it shows: a fault has come, and an alert fires.
    series = input_series(60, {FAULT: "_x30 1x60"})
    assert promql_parser.parse(query.expression).prettify()
    # Whatever its labels are, it gives series.
    given = Expected(60, f"clamp_max(count({query.expression}), 1)", {"{}": 1})
    promtool.test(rule_file(), series, [given])
