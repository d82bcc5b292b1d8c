"""The files of deploy/monitoring as the tests read them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
FILES = ROOT / "deploy" / "chart" / "files"

# What stands for Grafana's variables where a query is parsed or run outside of it.
_VARIABLES = {
    "$__rate_interval": "5m",
    "$resource": "huawei.com/tee-ram",
    "$node": ".*",
}


@cache
def manifest(name: str) -> Any:
    return yaml.safe_load((FILES / name).read_text(encoding="utf-8"))


@cache
def readme() -> str:
    return (MONITORING / "README.md").read_text(encoding="utf-8")


def readme_blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)


def rule_file() -> dict[str, Any]:
    """What a Prometheus without the operator is given."""
    spec: dict[str, Any] = manifest("prometheus-rule.yaml")["spec"]
    return spec


def rules() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    found = [rule for group in rule_file()["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in found}


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    return loaded


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels without the rows' titles."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


@dataclass(frozen=True)
class Query:
    """A query of a panel; `expression` with values in place of Grafana's variables."""

    panel: str
    ref_id: str
    written: str
    expression: str
    legend: str

    def __str__(self) -> str:
        return f"{self.panel} {self.ref_id}"


def queries() -> list[Query]:
    """All queries of all panels."""
    return list(_queries())


def _queries() -> Iterator[Query]:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            legend = target.get("legendFormat", "")
            yield Query(panel["title"], target["refId"], target["expr"], expression, legend)


def expressions() -> dict[str, str]:
    """Every PromQL expression there is, by where it stands."""
    alerts = {name: rule["expr"] for name, rule in rules().items()}
    return alerts | {str(query): query.expression for query in queries()}
