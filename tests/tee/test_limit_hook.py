"""tee-limit as a hook: what it asks the TEE for, and every way in which it fails closed."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from tests.tee.limits import CALL_MS, HOOK_MS, Container, Limits, container, process

pytestmark = [
    pytest.mark.only_root("makes pid namespaces, as a container's are"),
    pytest.mark.timeout(120),
]


@pytest.fixture
def one() -> Iterator[Container]:
    with container() as running:
        yield running


def nothing_left(limits: Limits) -> None:
    assert limits.groups == {}
    assert limits.recorded == {}


# ---- what it does


def test_one_call_with_the_containers_namespace_whole_kib_and_no_environment(
    limits: Limits, one: Container
) -> None:
    limits.set(one)
    assert limits.calls == [f"--config-resource --nsid={one.namespace} --memory=5120K variables=0"]
    assert limits.groups == {5: f"{one.namespace} 5120K"}
    assert limits.told("summary") == {"limited": "1", "unset": "0", "unknown": "0"}


def test_the_end_of_the_container_cleans_its_group_once(limits: Limits, one: Container) -> None:
    limits.set(one)
    limits.clean(one)
    limits.clean(one)
    nothing_left(limits)
    assert limits.calls[1:] == ["--clean --grpid=5 variables=0"]
    assert limits.told("summary")["limited"] == "0"


def test_a_group_that_is_gone_already_is_no_trouble(limits: Limits, one: Container) -> None:
    limits.set(one)
    (limits.mock / "groups" / "5").unlink()
    ended = limits.run("clean", state=one.state(pid=0))
    assert ended.returncode == 0
    nothing_left(limits)


def test_a_container_that_is_not_known_has_nothing_to_clean(limits: Limits, one: Container) -> None:
    limits.clean(one)
    assert limits.calls == []


def test_a_group_beyond_a_byte_is_taken_from_the_text_and_not_from_the_exit_status(
    limits: Limits, one: Container
) -> None:
    limits.behave("ret 300")
    limits.set(one)
    limits.behave("")
    limits.clean(one)
    assert limits.calls[-1] == "--clean --grpid=300 variables=0"
    nothing_left(limits)


def test_secure_storage_is_another_call_and_is_cleaned_up_as_well(
    limits: Limits, one: Container
) -> None:
    limits.set(one, 512, "--secure-storage")
    assert limits.calls[1] == (
        f"--config-container --nsid={one.namespace} --containerid={one.id} variables=0"
    )
    limits.clean(one)
    assert limits.calls[2] == f"--clean --grpid=5 --containerid={one.id} variables=0"
    nothing_left(limits)


def test_records_are_roots_alone(limits: Limits, one: Container) -> None:
    limits.set(one)
    assert limits.records.stat().st_mode & 0o777 == 0o700
    for path in limits.records.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
    assert f"namespace={one.namespace} kib=5120 group=5 " in limits.recorded[one.id]


def test_hooks_of_many_containers_at_a_time_each_get_a_group(limits: Limits) -> None:
    with ExitStack() as running:
        containers = [running.enter_context(container()) for _ in range(12)]
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(limits.set, containers))
            assert len(limits.groups) == 12
            namespaces = {text.split()[0] for text in limits.groups.values()}
            assert namespaces == {str(each.namespace) for each in containers}
            list(pool.map(limits.clean, containers))
    nothing_left(limits)


def test_a_container_that_starts_again_under_its_id_has_one_group(
    limits: Limits, one: Container
) -> None:
    limits.set(one)
    with container() as again:
        restarted = Container(again.pid, one.id)
        limits.set(restarted)
        assert limits.groups == {6: f"{restarted.namespace} 5120K"}
        limits.clean(restarted)
    nothing_left(limits)


# ---- what it refuses


@pytest.mark.parametrize("ret", [-1, -22, -14, -12])
def test_the_tees_refusal_leaves_the_container_unstarted(
    limits: Limits, one: Container, ret: int
) -> None:
    limits.behave(f"ret {ret}")
    line = limits.refusal(one)
    assert f"container {one.id[:12]}: the TEE refused to limit it to 5120 KiB (error {ret};" in line
    nothing_left(limits)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("silent", "named no group (it said: nothing)"),
        ("silent amount", "did not understand the amount 5120K"),
        ("crash", "was ended by signal 9"),
    ],
)
def test_an_answer_that_proves_no_limit_is_none(
    limits: Limits, one: Container, behaviour: str, words: str
) -> None:
    limits.behave(behaviour)
    assert words in limits.refusal(one)
    assert limits.groups == {}


def test_a_group_that_is_named_more_than_once_is_not_guessed(
    limits: Limits, one: Container
) -> None:
    limits.behave("chatty")
    line = limits.refusal(one)
    assert "named no group" in line
    assert line.isprintable() or line[:-1].isprintable()
    assert limits.told("summary") == {"limited": "0", "unset": "0", "unknown": "1"}


def test_a_tool_that_hangs_is_ended_in_time(limits: Limits, one: Container) -> None:
    limits.behave("hang")
    began = monotonic()
    assert f"did not end within {CALL_MS} ms" in limits.refusal(one)
    assert monotonic() - began < HOOK_MS / 1000
    # It may have made a group: that is kept on record until the TEE restarts.
    assert limits.told("summary")["unknown"] == "1"
    # The runtime calls the poststop hook also for a container that it could not create.
    limits.clean(one)
    assert limits.told("summary")["unknown"] == "1"
    assert subprocess.run(["pgrep", "-f", str(limits.tool)], check=False).returncode == 1


def test_no_more_unknown_groups_are_counted_than_the_tee_has(
    limits: Limits, one: Container
) -> None:
    limits.behave("crash")
    for number in range(66):
        again = Container(one.pid, f"try-{number}")
        assert "was ended by signal 9" in limits.refusal(again)
        limits.clean(again)
    assert limits.told("summary")["unknown"] == "63"


def test_a_tool_that_is_missing_is_named(limits: Limits, one: Container) -> None:
    hidden = limits.tool.rename(limits.directory / "hidden")
    try:
        assert f"{limits.tool}: No such file or directory" in limits.refusal(one)
    finally:
        hidden.rename(limits.tool)
    nothing_left(limits)


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o644, "is not executable"), (0o775, "may be changed by others"), (0o757, "may be changed")],
)
def test_a_tool_that_cannot_be_trusted_is_not_run(
    limits: Limits, one: Container, mode: int, words: str
) -> None:
    limits.tool.chmod(mode)
    assert words in limits.refusal(one)
    assert limits.calls == []
    nothing_left(limits)


def test_a_tool_that_is_no_program_is_told(limits: Limits, one: Container) -> None:
    content = limits.tool.read_bytes()
    limits.tool.unlink()
    limits.tool.write_bytes(b"no program")
    limits.tool.chmod(0o755)
    try:
        assert "can't be run" in limits.refusal(one)
    finally:
        limits.tool.write_bytes(content)
    nothing_left(limits)


def test_a_container_in_the_nodes_pid_namespace_is_refused(limits: Limits) -> None:
    with process("--uts") as pid:
        assert "(hostPID)" in limits.refusal(Container(pid))
    assert limits.calls == []


def test_a_container_in_its_pods_pid_namespace_is_refused(limits: Limits, one: Container) -> None:
    command = ["nsenter", "--target", str(one.pid), "--pid", "sleep", "1000"]
    with subprocess.Popen(command) as other:
        try:
            children = Path(f"/proc/{other.pid}/task/{other.pid}/children")
            while not (found := children.read_text().split()):
                assert other.poll() is None
            assert "(shareProcessNamespace)" in limits.refusal(Container(int(found[0])))
            os.kill(int(found[0]), 9)
        finally:
            other.kill()
    assert limits.calls == []


def test_a_process_that_is_gone_is_told(limits: Limits) -> None:
    with container() as ended:
        pass
    assert f"its process {ended.pid} can't be looked at" in limits.refusal(ended)


def test_without_teecd_nothing_is_started(limits: Limits, one: Container) -> None:
    limits.teecd.unlink()
    assert "teecd is not running" in limits.refusal(one)
    nothing_left(limits)


def test_secure_storage_that_is_refused_leaves_no_group(limits: Limits, one: Container) -> None:
    limits.behave("storage -22")
    assert "refused its secure storage" in limits.refusal(one, "--secure-storage")
    nothing_left(limits)


def test_secure_storage_needs_a_full_id(limits: Limits, one: Container) -> None:
    short = Container(one.pid, "web")
    assert "has not 64 hexadecimal digits" in limits.refusal(short, "--secure-storage")
    nothing_left(limits)


@pytest.mark.parametrize(
    "memory", ["5242880", "1.5G", "0K", "-1K", "05K", "5M", "5K ", "", "9999999999999K", "0x5K"]
)
def test_an_amount_that_is_no_whole_kib_is_refused_before_the_tee_is_asked(
    limits: Limits, one: Container, memory: str
) -> None:
    ended = limits.run("set", f"--memory={memory}", state=one.state())
    assert ended.returncode == 2
    assert "N being a whole number of KiB" in ended.stderr
    assert limits.calls == []


@pytest.mark.parametrize(
    "words",
    [[], ["set"], ["clean", "--memory=1K"], ["reconcile", "x"], ["set", "--memory=1K", "x"]],
)
def test_words_that_mean_nothing_are_refused(limits: Limits, words: list[str]) -> None:
    ended = limits.run(*words, state="{}")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


def test_a_directory_that_the_kubelet_made_becomes_roots_alone(
    limits: Limits, one: Container
) -> None:
    limits.records.mkdir(mode=0o755)
    limits.set(one)
    assert limits.records.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_change_is_not_used(limits: Limits, one: Container) -> None:
    limits.records.mkdir()
    limits.records.chmod(0o777)
    assert "others than root may change it" in limits.refusal(one)
    limits.records.rmdir()
    limits.records.symlink_to(limits.mock)
    assert "can't be opened" in limits.refusal(one)
    limits.records.unlink()
    assert limits.calls == []


def test_a_lock_that_another_holds_is_waited_for_in_vain_and_told(
    limits: Limits, one: Container
) -> None:
    limits.set(one)
    with (limits.records / "lock").open() as lock, container() as other:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "other containers' limits are still being set" in limits.refusal(other)
