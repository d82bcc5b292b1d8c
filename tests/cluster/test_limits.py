"""Limits on a real cluster: the hook is called by the runtime, against a mock of the vendor's tool.

The hook and its mock are built with paths below the lab's state directory, which is the same inside
and outside. The node's root that the plugin sees has links, and a CDI specification of its own.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from teeplugin.policy.cdi_spec import FILE
from tests.cluster.lab import Lab
from tests.cluster.scheduling import UNITS, wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin
from tests.tee.limits import Limits

PODS = int(os.environ.get("TEEPLUGIN_LIMITED_PODS", "40"))


@pytest.fixture(scope="module")
def built(lab: Lab) -> Limits:
    if not lab.settings.versions.has_cdi:
        pytest.skip("containerd 1.6 has no CDI: see test_limits_without_cdi.py")
    directory = lab.settings.run / "limits"
    directory.mkdir()
    return Limits(directory)


@pytest.fixture
def limits(lab: Lab, built: Limits) -> Iterator[Limits]:
    built.reset()
    root = built.directory / "root"
    if not root.exists():
        root.mkdir()
        for name in ("dev", "var"):
            (root / name).symlink_to(f"/{name}")
    specification = root / FILE.lstrip("/")
    specification.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "teeplugin", "cdi", "--backend", "simulated"]
    command += ["--backend-option", "access=itrustee", "--units", str(UNITS)]
    command += ["--hook", str(built.hook)]
    with specification.open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=30)
    # The lab's runtime has a directory of its own for specifications.
    installed = lab.settings.config / "cdi" / specification.name
    installed.parent.mkdir(exist_ok=True)
    shutil.copy(specification, installed.with_suffix(".new"))
    installed.with_suffix(".new").rename(installed)
    yield built
    lab.delete_all_pods()
    no_groups(built)


@pytest.fixture
def plugin(lab: Lab, limits: Limits, tmp_path: Path) -> Iterator[Plugin]:
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    made = Plugin(
        tmp_path,
        kubelet_dir=KUBELET_DIR,
        host_root=limits.directory / "root",
        enter=lab.enter(),
        flags=("--health-interval", "0.1", "--cdi", "on"),
        units=UNITS,
    )
    with made as running:
        wait_for_allocatable(lab, UNITS)
        yield running
        lab.kubelet_start()
        lab.delete_all_pods()


def namespace(lab: Lab, pod: str) -> str:
    return lab.exec(pod, "readlink", "/proc/self/ns/pid").strip().strip("pid:[]")


def container_of(found: dict[str, Any]) -> str:
    """Its id, without the runtime's name."""
    status: str = found["status"]["containerStatuses"][0]["containerID"]
    return status.partition("://")[2]


def pid_of(limits: Limits, container: str) -> int:
    """The container's first process, as the hook has recorded it."""
    word = next(each for each in limits.recorded[container].split() if each.startswith("pid="))
    return int(word.removeprefix("pid="))


def no_groups(limits: Limits) -> None:
    wait_until(
        "no group and no record is left",
        lambda: (limits.groups, limits.recorded),
        20,
        accept=lambda seen: not any(seen),
    )


def test_a_pod_with_10_units_is_limited_once_to_5120_kib_in_its_own_namespace(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    assert plugin.running
    lab.run_pod(lab.pod("ca", 10))
    own = namespace(lab, "ca")
    assert limits.calls == [f"--config-resource --nsid={own} --memory=5120K variables=0"]
    inside = dict(line.split("=", 1) for line in lab.exec("ca", "env").splitlines())
    assert inside["TEE_RAM_BYTES"] == str(5120 * 1024)
    assert "teelog" in lab.exec("ca", "ls", "/dev")
    lab.exec("ca", "dd", "if=/dev/tc_ns_cvm", "of=/dev/null", "bs=1", "count=1")
    mounts = [line.split() for line in lab.exec("ca", "cat", "/proc/mounts").splitlines()]
    (options,) = [fields[3] for fields in mounts if fields[1] == "/var/itrustee/teecd"]
    assert "ro" in options.split(",")
    lab.delete_pod("ca")
    no_groups(limits)
    assert [call for call in limits.calls if "--clean" in call] == ["--clean --grpid=5 variables=0"]


def described(lab: Lab, pod: str, words: str) -> None:
    """The reason is what `kubectl describe pod` shows, and the container doesn't run."""
    text = wait_until(
        f"kubectl describe pod shows: {words}",
        lambda: lab.kubectl("describe", "pod", pod),
        30,
        accept=lambda seen: words in seen,
    )
    assert "tee-limit: container" in text
    found = lab.get("pod", pod)
    assert found is not None
    assert "running" not in found["status"]["containerStatuses"][0]["state"]


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("ret -1", "the TEE refused to limit it to 5120 KiB (error -1;"),
        ("ret -22", "the TEE refused to limit it to 5120 KiB (error -22;"),
        ("ret -14", "the TEE refused to limit it to 5120 KiB (error -14;"),
        ("silent amount", "did not understand the amount 5120K"),
        ("silent", "named no group (it said: nothing)"),
        ("crash", "was ended by signal 9"),
    ],
)
def test_a_limit_that_cannot_be_set_leaves_the_container_unstarted_with_the_reason(
    lab: Lab, plugin: Plugin, limits: Limits, behaviour: str, words: str
) -> None:
    assert plugin.running
    limits.behave(behaviour)
    lab.apply(lab.pod("refused", 10))
    described(lab, "refused", words)
    lab.delete_pod("refused")
    limits.restart_tee()
    limits.run("reconcile")


def test_a_tool_that_hangs_is_missing_or_not_executable_is_told_as_well(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    assert plugin.running
    limits.behave("hang")
    lab.apply(lab.pod("hangs", 10))
    described(lab, "hangs", "did not end within")
    lab.delete_pod("hangs")
    limits.behave("")
    limits.tool.chmod(0o644)
    lab.apply(lab.pod("not-executable", 10))
    described(lab, "not-executable", "is not executable")
    hidden = limits.tool.rename(limits.directory / "hidden")
    try:
        lab.apply(lab.pod("missing", 10))
        described(lab, "missing", "No such file or directory")
    finally:
        hidden.rename(limits.tool)
    lab.delete_all_pods()
    limits.restart_tee()
    limits.run("reconcile")


def test_group_300_is_no_failure_and_is_cleaned_up_by_its_number(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    assert plugin.running
    limits.behave("ret 300")
    lab.run_pod(lab.pod("ca", 10))
    assert list(limits.groups) == [300]
    lab.delete_pod("ca")
    no_groups(limits)


@pytest.mark.parametrize("field", ["hostPID", "shareProcessNamespace"])
def test_a_pod_without_a_pid_namespace_of_its_own_is_refused(
    lab: Lab, plugin: Plugin, limits: Limits, field: str
) -> None:
    assert plugin.running
    manifest = lab.pod("shared", 10)
    manifest["spec"][field] = True
    lab.apply(manifest)
    described(lab, "shared", f"({field})")
    assert limits.calls == []


def test_each_start_of_a_container_has_a_group_of_its_own_and_leaves_none(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    """The container's process is killed, its shim is, and the pod is deleted by force."""
    assert plugin.running
    found = lab.run_pod(lab.pod("ca", 10, restart_policy="Always"))
    first = container_of(found)
    subprocess.run(["kill", "-9", str(pid_of(limits, container_of(found)))], check=True)
    wait_until("it is started again", lambda: lab.restarts("ca"), 30)
    found = lab.wait_pod("ca", "Running")
    # The kernel may give the namespace's number out again.
    own = namespace(lab, "ca")
    assert container_of(found) != first
    wait_until(
        "one group",
        lambda: list(limits.groups.values()),
        20,
        accept=lambda s: s == [f"{own} 5120K"],
    )
    kill_shim(pid_of(limits, container_of(found)))
    wait_until("it is started again", lambda: lab.restarts("ca") > 1, 60)
    lab.wait_pod("ca", "Running")
    limits.run("reconcile")
    own = namespace(lab, "ca")
    assert list(limits.groups.values()) == [f"{own} 5120K"]
    lab.kubectl("delete", "pod", "ca", "--force", "--grace-period=0", "--wait=false")
    no_groups(limits)


def kill_shim(pid: int) -> None:
    """Kill the shim of a container: its parent."""
    status = Path(f"/proc/{pid}/status").read_text()
    parent = next(line.split()[1] for line in status.splitlines() if line.startswith("PPid:"))
    words = Path(f"/proc/{parent}/cmdline").read_text()
    assert re.search("containerd-shim|conmon", words), words
    subprocess.run(["kill", "-9", parent], check=True)


def test_restarts_of_runtime_and_kubelet_touch_no_group_of_a_living_container(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    assert plugin.running
    lab.run_pod(lab.pod("ca", 10))
    groups, calls = limits.groups, limits.calls
    for name in (lab.runtime.process, "kubelet"):
        lab._machine.stop(name, signal.SIGTERM, 20)
        limits.run("reconcile")
        lab.runtime_start()
        lab.kubelet_start()
    limits.run("reconcile")
    assert limits.groups == groups
    assert limits.calls == calls
    assert lab.restarts("ca") == 0


def test_after_a_restart_of_the_tee_the_limits_are_set_again(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    assert plugin.running
    for name in ("one", "two"):
        lab.run_pod(lab.pod(name, 10))
    limits.restart_tee()
    assert limits.run("reconcile", seconds=5).returncode == 0
    assert sorted(limits.groups.values()) == sorted(
        f"{namespace(lab, name)} 5120K" for name in ("one", "two")
    )


@pytest.mark.timeout(120 + 5 * PODS, func_only=True)
def test_pods_that_come_and_go_at_random_leave_no_group(
    lab: Lab, plugin: Plugin, limits: Limits
) -> None:
    """Forty pods, or TEEPLUGIN_LIMITED_PODS of them, some of which are deleted by force."""
    assert plugin.running
    chance = random.Random(PODS)  # noqa: S311 - which pod goes is no secret
    living: list[str] = []
    for number in range(PODS):
        name = f"pod-{number}"
        lab.apply(lab.pod(name, 3))
        living.append(name)
        if len(living) > 8:
            gone = living.pop(chance.randrange(len(living)))
            force = ("--force", "--grace-period=0") if chance.random() < 0.5 else ()
            lab.kubectl("delete", "pod", gone, "--wait=false", *force)
    for name in living:
        lab.wait_pod(name, "Running", 60)
    wait_until(
        "one group for each living pod",
        lambda: sorted(limits.groups.values()),
        60,
        accept=lambda seen: seen == sorted(f"{namespace(lab, name)} 1536K" for name in living),
    )
    made = sum("--config-resource" in call for call in limits.calls)
    lab.delete_all_pods()
    no_groups(limits)
    cleaned = sum("--clean" in call for call in limits.calls)
    print(f"\n{PODS} pods: {made} groups made, {cleaned} cleaned up, none left")
