"""The versions that the cluster tests take, and the table that `nox -s matrix` writes."""

import json
import re
from pathlib import Path

import pytest

from tests.cluster import binaries, go_programs, matrix
from tests.cluster.matrix import Result
from tests.cluster.settings import HERE
from tests.cluster.versions import (
    EVERY_FILE_REMOVED,
    KUBERNETES_VARIABLE,
    NEWER_DROPPED,
    NO_ALLOCATABLE,
    NO_UNIT_HEALTH,
    RUNTIME_VARIABLE,
    UNRUN,
    Versions,
    default_kubernetes,
)

PASSED = Result("2026-11-29", 5, (), (), {"pods": "9", "containerRuntimeVersion": "containerd://2"})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEEPLUGIN_CACHE", str(tmp_path))
    for variable in (KUBERNETES_VARIABLE, RUNTIME_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({}, Versions(default_kubernetes(), "containerd 2")),
        ({KUBERNETES_VARIABLE: "1.33.13"}, Versions("1.33.13", "containerd 2")),
        ({RUNTIME_VARIABLE: "CRI-O"}, Versions(default_kubernetes(), "CRI-O")),
    ],
)
def test_the_environment_names_versions(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], expected: Versions
) -> None:
    for variable, value in named.items():
        monkeypatch.setenv(variable, value)
    assert Versions.from_environment() == expected


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        (KUBERNETES_VARIABLE, "1.33", "a full version"),
        (RUNTIME_VARIABLE, "3", "containerd 2 or"),
    ],
)
def test_versions_that_cant_be_had_are_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=words):
        Versions.from_environment()


@pytest.mark.parametrize(
    ("kubernetes", "expected"),
    [
        ("1.37.2", ()),
        ("1.36.3", (NEWER_DROPPED,)),
        ("1.33.13", (NEWER_DROPPED, NO_UNIT_HEALTH)),
        ("1.32.0", (NEWER_DROPPED, NO_UNIT_HEALTH, EVERY_FILE_REMOVED)),
        ("1.20.15", (NO_UNIT_HEALTH, EVERY_FILE_REMOVED, NO_ALLOCATABLE)),
    ],
)
def test_a_kubelet_has_the_differences_of_those_before(
    kubernetes: str, expected: tuple[object, ...]
) -> None:
    assert Versions(kubernetes).differences == expected


def test_a_module_replaces_what_kubernetes_keeps_in_its_own_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replaced = [
        {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
        {"Old": {"Path": "a.org/b"}, "New": {"Path": "a.org/c", "Version": "v1.0.0"}},
    ]
    answers = {"download": {"GoMod": "it"}, "edit": {"Go": "1.24.0", "Replace": replaced}}
    for module in (binaries, go_programs):
        monkeypatch.setattr(module, "go", lambda *words: json.dumps(answers[words[1]]))
    monkeypatch.setattr(binaries, "ensure_go", lambda: None)
    written = binaries._go_mod("1.33.13")
    assert "go 1.24.0" in written
    assert "require k8s.io/kubernetes v1.33.13" in written
    assert "replace k8s.io/api => k8s.io/api v0.33.13" in written
    assert "replace a.org/b => a.org/c v1.0.0" in written
    # Kept, so that a lab whose programs are built needs no network.
    for module in (binaries, go_programs):
        monkeypatch.setattr(module, "go", None)
    assert binaries._go_mod("1.33.13") == written


def test_a_report_is_read_with_its_figures(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><properties><property name="pods" value="3"/></properties>'
        '<testcase name="good"><properties><property name="registered_ms" value="41.5"/>'
        '</properties></testcase><testcase name="bad"><failure/></testcase>'
        '<testcase name="worse"><error/></testcase><testcase name="no"><skipped/></testcase>'
        "</testsuite></testsuites>"
    )
    figures = {"pods": "3", "registered_ms": "41.5"}
    expected = Result("2026-11-29", 1, ("bad", "worse"), ("no",), figures)
    assert matrix.read_report(report, "2026-11-29") == expected
    assert str(expected) == "1 of 3 passed"


def test_a_row_says_what_was_not_run_and_its_notes_what_failed() -> None:
    versions = Versions("1.20.15")
    results = {"pods": PASSED, "shortage": Result("2026-11-30", 0, ("bad",), ("no",), {})}
    row = [cell.strip() for cell in matrix.row(versions, results).strip("|").split("|")]
    assert row[:3] == ["1.20.15", "containerd 2", "1.24.17"]
    assert row[3:7] == ["not possible", "5 passed", "not run", "0 of 1 passed"]
    assert row[7:] == ["not run", "not run", "9", "not run", "2026-11-30"]
    notes = "\n".join(matrix.notes(versions, results))
    assert "joins a control plane of 1.24.17" in notes
    assert NO_UNIT_HEALTH.reason in "\n".join(matrix.notes(Versions("1.33.13", "containerd 2"), {}))
    assert "shortage, failed: bad" in notes
    assert "shortage, skipped: no" in notes


def test_what_was_run_is_kept_and_only_the_rest_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page, translation = tmp_path / "page.md", tmp_path / "page.zh-CN.md"
    for each in (page, translation):
        each.write_text(f"before\n{matrix.BEGIN}\nthe table before\n{matrix.END}\nafter\n")
    monkeypatch.setattr(matrix, "PAGES", (page, translation))
    ran: list[str] = []

    def run_suite(versions: Versions, suite: str) -> Result:
        ran.append(f"{versions.kubernetes} {suite}")
        return PASSED

    monkeypatch.setattr(matrix, "run_suite", run_suite)
    assert matrix.main(["1.36.3", "--suite", "pods"]) == 0
    assert matrix.main(["1.36.3"]) == 0
    assert matrix.main(["1.37.2", "--suite", "pods"]) == 0
    assert ran[0] == "1.36.3 pods"
    assert sorted(ran) == sorted([f"1.36.3 {suite}" for suite in matrix.SUITES] + ["1.37.2 pods"])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{matrix.END}\nafter\n")
    assert "the table before" not in text
    assert translation.read_text() == text
    # The newest first.
    rows = re.findall(r"^\| (1\.[\d.]+)", text, re.MULTILINE)
    assert rows == ["1.37.2", "1.36.3", *UNRUN]
    monkeypatch.setattr(matrix, "UNRUN", {"1.24.17": "was not run", "1.18": "was not run"})
    assert matrix.main(["1.24.17", "--suite", "pods"]) == 0
    rows = re.findall(r"^\| (1\.[\d.]+)", page.read_text(), re.MULTILINE)
    assert rows == ["1.37.2", "1.36.3", "1.24.17", "1.18"]


def test_every_suite_is_there() -> None:
    files = [name for names in matrix.SUITES.values() for name in names]
    assert [name for name in files if not (HERE / name).exists()] == []
    for page in matrix.PAGES:
        assert "the table" in matrix.replace_section(page.read_text("utf-8"), "the table")
