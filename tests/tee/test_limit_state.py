"""tee-limit's input and the program itself: states that are none, sanitizers, aarch64."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import ROOT, make, runner
from tests.tee.limits import Limits, container

pytestmark = [
    pytest.mark.only_root("makes pid namespaces, as a container's are"),
    pytest.mark.timeout(120),
]

# ---- the state on standard input


@pytest.mark.parametrize(
    "state",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"id": "a"',
        '{"id": "a", "pid": 5} x',
        '{"pid": 5}',
        '{"id": "", "pid": 5}',
        '{"id": "../a", "pid": 5}',
        '{"id": ".a", "pid": 5}',
        '{"id": "a/b", "pid": 5}',
        '{"id": "a\\u0000", "pid": 5}',
        '{"id": "a\\nb", "pid": 5}',
        '{"id": 5, "pid": 5}',
        '{"id": "a", "pid": "5"}',
        '{"id": "a", "pid": -5}',
        '{"id": "a", "pid": 5.0}',
        '{"id": "a", "pid": 5, "pid": 6}',
        '{"id": "a", "id": "b", "pid": 5}',
        '{"id": "a", "pid": 99999999999}',
        '{"id": "a", "pid": 5, "x": [1, 2,]}',
        '{"id": "a", "pid": 5, "x": 01}',
        '{"id": "a", "pid": 5, "x": tru}',
        '{"id": "a", "pid": 5, "x": "\\q"}',
        json.dumps({"id": "a" * 129, "pid": 5}),
        '{"id": "a", "pid": 5, "x": ' + "[" * 100 + "]" * 100 + "}",
        json.dumps({"id": "a", "pid": 5, "x": "y" * (1 << 20)}),
    ],
    ids=lambda state: state[:40],
)
@pytest.mark.parametrize("command", [["set", "--memory=1K"], ["clean"]], ids=["set", "clean"])
def test_a_state_that_is_none_is_refused(limits: Limits, state: str, command: list[str]) -> None:
    ended = limits.run(*command, state=state)
    assert ended.returncode == 1
    assert ended.stderr.startswith("tee-limit: the state on standard input")
    assert ended.stderr.count("\n") == 1
    assert limits.calls == []


def test_a_runtime_that_writes_no_state_is_not_waited_for_forever(limits: Limits) -> None:
    silent, writing = os.pipe()
    command = [str(limits.hook), "set", "--memory=1K"]
    ended = subprocess.run(
        command, stdin=silent, capture_output=True, text=True, timeout=30, check=False
    )
    os.close(writing)
    os.close(silent)
    assert ended.returncode == 1
    assert "did not write the container's state in time" in ended.stderr


def test_closed_descriptors_end_in_a_refusal(limits: Limits) -> None:
    script = f'exec "{limits.hook}" set --memory=1K <&- >&- 2>&-'
    ended = subprocess.run(["sh", "-c", script], timeout=30, check=False)
    assert ended.returncode == 1
    assert limits.calls == []


# ---- the program


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    need("compiler")
    made = Limits(tmp_path.resolve(), sanitize="address,undefined")
    made.reset()
    with container() as one, container() as other:
        for each in (one, other):
            made.set(each, 512, "--secure-storage")
        made.clean(other)
        made.restart_tee()
        assert made.run("reconcile").returncode == 0
        assert len(made.groups) == 1
        for behaviour in ("ret -1", "silent", "silent amount", "chatty", "hang", "storage 1"):
            made.behave(behaviour)
            made.refusal(other, "--secure-storage")


def test_it_is_static_and_goes_by_the_tees_own_path(tmp_path: Path) -> None:
    need("compiler")
    make(ROOT / "ca", [f"OUT={tmp_path}", f"OBJ={tmp_path}/obj", "hook"])
    program = tmp_path / "tee-limit"
    told = subprocess.run(["readelf", "-lW", program], capture_output=True, text=True, check=True)
    assert "INTERP" not in told.stdout
    assert b"\0/usr/bin/tee_teleport\0" in program.read_bytes()


def test_it_runs_on_aarch64(tmp_path: Path) -> None:
    need("compiler", "cross compiler")
    arm = Limits(tmp_path.resolve(), cc="aarch64-linux-gnu-gcc")
    arm.reset()
    try:
        command = [*runner("aarch64"), str(arm.hook), "set", "--memory=1K"]
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with container() as one:
        ended = subprocess.run(
            command, input=one.state(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")
        assert arm.groups == {5: f"{one.namespace} 1K"}
