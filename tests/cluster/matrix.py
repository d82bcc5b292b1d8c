"""Runs the cluster suites on one version of Kubernetes, and writes its row: `nox -s matrix`.

Each suite's result is kept, so that an interrupted run resumes where it ended.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from defusedxml import ElementTree

from tests.cluster.settings import HERE, cache_directory
from tests.cluster.versions import (
    CONTROL_PLANES,
    CRI_O,
    KUBERNETES_VARIABLE,
    NO_ALLOCATABLE,
    RUNTIME_VARIABLE,
    UNRUN,
    Versions,
    add_runtime_options,
)

CONTRACT = "contract"
SUITES: Mapping[str, tuple[str, ...]] = {
    CONTRACT: ("test_contract.py", "test_pod_resources_contract.py", "test_same_socket.py"),
    "pods": ("test_pods.py",),
    "restarts": ("test_life.py",),
    "shortage": ("test_shortage.py",),
    "rolling update": ("test_deploy_updates.py",),
}
DOCS = HERE.parents[1] / "docs"
PAGES = (DOCS / "compatibility.md", DOCS / "compatibility.zh-CN.md")
BEGIN, END = "<!-- written by nox -s matrix -->", "<!-- end of what nox -s matrix writes -->"
NOT_RUN, NOT_POSSIBLE = "not run", "not possible"
_FIGURES = ("registered after a kubelet restart", "pods run", "pods refused in 3 rolls")
_HEAD = ("Kubernetes", "runtime", "control plane", *SUITES, *_FIGURES, "when")


@dataclass(frozen=True)
class Result:
    """What one suite ended with, on which day; figures by the tests' own names."""

    when: str
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    figures: Mapping[str, str]

    def __str__(self) -> str:
        if not self.passed and not self.failed:
            return NOT_RUN
        total = self.passed + len(self.failed)
        return f"{self.passed} passed" if not self.failed else f"{self.passed} of {total} passed"


def read_report(report: Path, when: str) -> Result:
    """Read what pytest wrote with --junit-xml."""
    root = ElementTree.parse(report).getroot()
    assert root is not None
    failed, skipped, passed = [], [], 0
    for case in root.iter("testcase"):
        name = case.attrib["name"]
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed += 1
    figures = {each.attrib["name"]: each.attrib["value"] for each in root.iter("property")}
    return Result(when, passed, tuple(failed), tuple(skipped), figures)


def row(versions: Versions, results: Mapping[str, Result]) -> str:
    """Write the table's row of one version with one container runtime."""
    figures: dict[str, str] = {}
    for result in results.values():
        figures |= result.figures
    pods = sum(int(result.figures.get("pods", 0)) for result in results.values())
    milliseconds = figures.get("registered_ms")
    refused = figures.get("refused_pods")
    cells = (
        versions.kubernetes,
        _runtime(figures.get("containerRuntimeVersion")) or versions.runtime,
        versions.control_plane,
        *(str(results.get(suite, _missing(versions, suite))) for suite in SUITES),
        f"{float(milliseconds):.0f} ms" if milliseconds else NOT_RUN,
        str(pods),
        f"{refused} of {figures['created_pods']}" if refused else NOT_RUN,
        max((result.when for result in results.values()), default=NOT_RUN),
    )
    return f"| {' | '.join(cells)} |"


def _missing(versions: Versions, suite: str) -> str:
    is_blind = suite == CONTRACT and versions.differs_by(NO_ALLOCATABLE)
    return NOT_POSSIBLE if is_blind else NOT_RUN


def _runtime(told: str | None) -> str:
    """Write `containerd://2.4.2`, as the node tells it, in words."""
    name, _, version = (told or "").partition("://")
    return f"{name.replace('cri-o', CRI_O)} {version}".strip()


def notes(versions: Versions, results: Mapping[str, Result]) -> list[str]:
    """Explain a row: its control plane, how its kubelet differs, and what did not pass."""
    joins = CONTROL_PLANES.get(versions.kubernetes)
    found = [f"the kubelet joins a control plane of {joins[0]}: {joins[1]}"] if joins else []
    found += [f"{each.what}: {each.reason}" for each in versions.differences]
    for suite, result in results.items():
        found += [f"{suite}, failed: {_words(name)}" for name in result.failed]
        found += [f"{suite}, skipped: {_words(name)}" for name in result.skipped]
    return [f"- {versions}: {each}" for each in found]


def _words(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")


def section(known: Mapping[Versions, Mapping[str, Result]]) -> str:
    """Write the table and its notes, the newest Kubernetes first."""
    ordered = sorted(known, key=_newest_first)
    run = {versions.kubernetes for versions in known}
    unrun = {version: reason for version, reason in UNRUN.items() if version not in run}
    lines = [
        f"| {' | '.join(_HEAD)} |",
        "|" + "---|" * len(_HEAD),
        *(row(versions, known[versions]) for versions in ordered),
        *(_empty_row(version) for version in unrun),
        "",
        *(line for versions in ordered for line in notes(versions, known[versions])),
        *(f"- Kubernetes {version}, {NOT_RUN}: {reason}" for version, reason in unrun.items()),
    ]
    return "\n".join(lines)


def _empty_row(version: str) -> str:
    return f"| {' | '.join((version, *[NOT_RUN] * (len(_HEAD) - 1)))} |"


def _newest_first(versions: Versions) -> tuple[list[int], str]:
    return [-int(part) for part in versions.kubernetes.split(".")], versions.runtime


def replace_section(page: str, text: str) -> str:
    """Put the table in the place of the earlier one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the lines {BEGIN} and {END}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def _kept() -> Path:
    return cache_directory() / "matrix"


def load() -> dict[Versions, dict[str, Result]]:
    """Read the results of earlier runs."""
    found = {}
    for path in sorted(_kept().glob("*.json")):
        kubernetes, _, runtime = path.stem.partition("+")
        suites = json.loads(path.read_text())
        found[Versions(kubernetes, runtime)] = {
            suite: Result(**suites[suite]) for suite in SUITES if suite in suites
        }
    return found


def save(versions: Versions, results: Mapping[str, Result]) -> None:
    """Keep the results of one version."""
    path = _kept() / f"{versions.kubernetes}+{versions.runtime}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({suite: asdict(each) for suite, each in results.items()}))


def run_suite(versions: Versions, suite: str) -> Result:
    """Run one suite on a fresh lab, and show what its tests print."""
    with tempfile.TemporaryDirectory(prefix="teeplugin-matrix-") as scratch:
        report = Path(scratch) / "report.xml"
        # The properties of single tests are written in this older form only.
        options = ("-v", "-s", f"--junit-xml={report}", "-o", "junit_family=xunit1")
        named = {KUBERNETES_VARIABLE: versions.kubernetes, RUNTIME_VARIABLE: versions.runtime}
        files = [str(HERE / name) for name in SUITES[suite]]
        command = [sys.executable, "-m", "pytest", *options, *files]
        # Its status says no more than the report; without a report the suite was not run.
        subprocess.run(command, cwd=HERE.parents[1], env=os.environ | named, check=False)
        return read_report(report, datetime.now(UTC).date().isoformat())


def main(words: Sequence[str]) -> int:
    """Run what has not been run of one version; write the table after each suite."""
    parser = argparse.ArgumentParser(prog="nox -s matrix --", description=__doc__)
    parser.add_argument("version", help="the kubelet's, as in 1.33.13")
    add_runtime_options(parser.add_argument)
    parser.add_argument("--again", action="store_true", help="run also what has been run")
    parser.add_argument("--suite", choices=[*SUITES], action="append", help="only this one")
    given = parser.parse_args(words)
    versions = Versions(given.version, given.runtime or Versions.runtime)
    results = load().get(versions, {})
    for suite in given.suite or SUITES:
        if _missing(versions, suite) == NOT_POSSIBLE:
            print(f"{versions}: {suite}: {NO_ALLOCATABLE.what}")
            continue
        if suite in results and not given.again:
            print(f"{versions}: {suite} was run on {results[suite].when}: {results[suite]}")
            continue
        results[suite] = run_suite(versions, suite)
        save(versions, results)
        text = section(load() | {versions: results})
        for page in PAGES:
            page.write_text(replace_section(page.read_text("utf-8"), text), "utf-8")
    return int(any(result.failed for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
