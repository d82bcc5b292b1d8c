"""Runs promtool on the alerts: which fire when, with which words."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_SECONDS = 50


@dataclass(frozen=True)
class Expected:
    """What a PromQL expression gives at a minute: values by their series' labels."""

    minute: int
    expression: str
    values: Mapping[str, float]

    def entry(self) -> dict[str, Any]:
        samples = [{"labels": labels, "value": value} for labels, value in self.values.items()]
        return {"eval_time": f"{self.minute}m", "expr": self.expression, "exp_samples": samples}


def firing(minute: int, alerts: Mapping[str, int]) -> Expected:
    """Expect exactly these alerts to fire, each so many times."""
    return Expected(
        minute,
        'count by (alertname) (ALERTS{alertstate="firing"})',
        {f'{{alertname="{name}"}}': count for name, count in alerts.items()},
    )


@dataclass(frozen=True)
class Words:
    """An alert that fires at a minute, with its labels and annotations."""

    minute: int
    alert: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def entry(self) -> dict[str, Any]:
        told = {"exp_labels": dict(self.labels), "exp_annotations": dict(self.annotations)}
        return {"eval_time": f"{self.minute}m", "alertname": self.alert, "exp_alerts": [told]}


@dataclass(frozen=True)
class Promtool:
    """The program, and a directory for the files it is given."""

    program: Path
    directory: Path

    def run(self, *arguments: str) -> None:
        """Run it, and fail with what it printed if it isn't satisfied."""
        result = subprocess.run(
            [self.program, *arguments],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr

    def write(self, name: str, content: object) -> str:
        # Wide, as a line that is broken within quotes is folded anew when it is read.
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)
        (self.directory / name).write_text(text, encoding="utf-8")
        return name

    def check_rules(self, rule_file: object) -> None:
        """Have a rule file read as Prometheus reads it, with all of promtool's own advice."""
        name = self.write("rules.yml", rule_file)
        self.run("check", "rules", "--lint=all", "--lint-fatal", name)

    def test(
        self,
        rule_file: object,
        series: Mapping[str, str],
        expected: Sequence[Expected],
        words: Sequence[Words] = (),
    ) -> None:
        """Play series, a value each minute, and compare what the rules and expressions give."""
        self.write("rules.yml", rule_file)
        test = {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [each.entry() for each in expected],
            "alert_rule_test": [each.entry() for each in words],
        }
        whole = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
        self.run("test", "rules", self.write("tests.yml", whole))
