"""Which tests a session of the noxfile runs; nox itself needn't be installed."""

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))


def selection() -> Callable[[Sequence[str], Sequence[str]], tuple[str, ...]]:
    found: list[ast.stmt] = [
        node
        for node in NOXFILE.body
        if isinstance(node, ast.FunctionDef) and node.name == "_selection"
    ]
    names: dict[str, Any] = {"Path": Path, "Sequence": Sequence}
    exec(compile(ast.Module(found, []), "noxfile.py", "exec"), names)  # noqa: S102 - our own file
    found_function: Callable[[Sequence[str], Sequence[str]], tuple[str, ...]] = names["_selection"]
    return found_function


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], ["tests/cluster"]),
        (["--keep"], ["tests/cluster", "--keep"]),
        (["-k", "shortage"], ["tests/cluster", "-k", "shortage"]),
        (["tests/cluster/test_pods.py"], ["tests/cluster/test_pods.py"]),
        (
            ["--keep", "tests/cluster/test_pods.py::test_x"],
            ["--keep", "tests/cluster/test_pods.py::test_x"],
        ),
    ],
)
def test_files_take_the_place_of_the_sessions_folder(
    monkeypatch: pytest.MonkeyPatch, given: list[str], expected: list[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert list(selection()(given, ["tests/cluster"])) == expected


def test_every_session_leaves_its_folder_to_that() -> None:
    calls = [
        node
        for node in ast.walk(NOXFILE)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "_pytest"
    ]
    words = [word.value for call in calls for word in call.args if isinstance(word, ast.Constant)]
    assert len(calls) > 5
    assert [word for word in words if not str(word).startswith("-")] == ["not slow", "slow"]
