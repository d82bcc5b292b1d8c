"""Restarts, deaths and successions on a real cluster, with a pod that holds units all the while."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from time import time

import pytest

from tests.cluster import original_mock
from tests.cluster.doctor_beside import doctor_beside
from tests.cluster.kubelet_watch import lists_processed
from tests.cluster.lab import Lab
from tests.cluster.pods import restarts
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import UNITS, plugin, wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR, NODE_NAME
from tests.cluster.versions import NEWER_DROPPED, NO_ALLOCATABLE
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

ALLOCATED = 10
__all__ = ["plugin"]  # the fixture
UNTIL_FILE_COMES = ("sh", "-c", "until [ -e /tmp/end ]; do sleep 0.1; done")


def run_holder(lab: Lab) -> str:
    """Run a pod that holds units; its uid."""
    pod = lab.run_pod(lab.pod("holder", ALLOCATED, restart_policy="Always"))
    uid: str = pod["metadata"]["uid"]
    return uid


def assert_undisturbed(lab: Lab, uid: str) -> None:
    pod = lab.get("pod", "holder")
    assert pod is not None
    assert pod["metadata"]["uid"] == uid
    assert restarts(pod) == 0
    assert pod["status"]["phase"] == "Running"


def wait_for_full_allocatable(lab: Lab, plugin: Plugin, *, registrations: int) -> float:
    """Wait until it is registered so often and the node shows it in time; the seconds it took."""
    wait_until("registered again", lambda: plugin.count("registered") >= registrations, 10)
    registered = _registered_at(plugin)
    wait_for_allocatable(lab, UNITS)
    return time() - registered


def _registered_at(plugin: Plugin) -> float:
    return datetime.fromisoformat(plugin.events("registered")[-1]["timestamp"]).timestamp()


def _accepts_at(path: Path, predecessor: int, deadline: float) -> float:
    """Dial the kubelet's new socket until it takes the call; when it did.

    A killed kubelet's socket takes calls for some milliseconds more.
    """
    while time() < deadline:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                if path.stat().st_ctime_ns == predecessor:
                    continue
                client.connect(os.fspath(path))
            except OSError:
                continue
            return time()
    raise AssertionError(f"{path} takes no call")


def test_another_precision_at_a_restart_leaves_pods_alone_and_doctor_names_their_units(
    lab: Lab, plugin: Plugin, tmp_path: Path
) -> None:
    uid = run_holder(lab)
    plugin.stop()
    other = Real(lab).plugin(
        tmp_path, "coarser", flags=("--health-interval", "0.1", "-precision", "1024")
    )
    with other:
        wait_for_allocatable(lab, UNITS // 2)
        _, checks = doctor_beside(lab, other)
        assert checks["allocated-unit-size"]["result"] == "warning"
        assert f"{ALLOCATED} units of 512 KiB" in checks["allocated-unit-size"]["finding"]
        assert_undisturbed(lab, uid)


def test_ten_kubelet_crashes_are_survived_by_pod_and_registration(
    lab: Lab, plugin: Plugin, record_property: Callable[[str, object], None]
) -> None:
    uid = run_holder(lab)
    registered, listed = [], []
    kubelet_socket = lab.device_plugins_dir / "kubelet.sock"
    for crash in range(10):
        predecessor = kubelet_socket.stat().st_ctime_ns
        lab.kubelet_kill()
        logged_bytes = lab.log("kubelet").stat().st_size
        lab.kubelet_start(wait=False)
        accepts = _accepts_at(kubelet_socket, predecessor, time() + 30)
        wait_until("registered", lambda: plugin.count("registered"), 10, accept=(crash + 2).__le__)
        registered.append(round((_registered_at(plugin) - accepts) * 1000))
        lab.kubelet_start()
        wait_for_allocatable(lab, UNITS)
        processed = lists_processed(lab.log("kubelet"), logged_bytes)[0]
        listed.append(round((processed - accepts) * 1000))
        assert_undisturbed(lab, uid)
    record_property("registered_ms", median(registered))
    print(
        f"\nkubelet's socket accepts → registered, ms: {registered}, median {median(registered)}; "
        f"→ list processed, ms: {listed}, median {median(listed)}, aims 30 and 100 at most"
    )


def test_a_replaced_directory_ends_with_the_full_allocatable(lab: Lab, plugin: Plugin) -> None:
    uid = run_holder(lab)
    shutil.rmtree(lab.device_plugins_dir)
    lab.kubelet_stop()
    lab.kubelet_start()
    seconds = wait_for_full_allocatable(lab, plugin, registrations=2)
    assert_undisturbed(lab, uid)
    print(f"\nregistered → full allocatable: {seconds:.1f} s")


def test_a_killed_plugin_that_is_started_again_ends_with_the_full_allocatable(
    lab: Lab, plugin: Plugin
) -> None:
    uid = run_holder(lab)
    plugin.kill()
    wait_for_allocatable(lab, 0)
    plugin.start()
    seconds = wait_for_full_allocatable(lab, plugin, registrations=2)
    assert_undisturbed(lab, uid)
    print(f"\nregistered → full allocatable: {seconds:.1f} s")
    assert seconds < 2 * lab.settings.node_status_seconds + 1


def test_a_deleted_socket_ends_with_the_full_allocatable(lab: Lab, plugin: Plugin) -> None:
    uid = run_holder(lab)
    (ours,) = lab.device_plugins_dir.glob("tee-ram-*.sock")
    ours.unlink()
    seconds = wait_for_full_allocatable(lab, plugin, registrations=2)
    assert_undisturbed(lab, uid)
    print(f"\nregistered → full allocatable: {seconds:.1f} s")
    assert seconds < 2 * lab.settings.node_status_seconds + 1


def _need_listed_devices(lab: Lab) -> None:
    if lab.settings.versions.differs_by(NO_ALLOCATABLE):
        # Also where CI is set: no such kubelet can show what these tests look at.
        pytest.skip(NO_ALLOCATABLE.what)


@pytest.mark.anyio
async def test_twenty_successions_end_with_the_newer_instances_devices(
    lab: Lab, tmp_path: Path
) -> None:
    _need_listed_devices(lab)
    kubelet = Real(lab)
    seconds = []
    older = kubelet.plugin(tmp_path, "plugin-0")
    older.start()
    try:
        await kubelet.has(UNITS)
        for succession in range(1, 21):
            newer = kubelet.plugin(tmp_path, f"plugin-{succession}")
            newer.start()
            await newer.logged("registered")
            left = time()
            assert older.stop() == 0
            older = newer
            await kubelet.has(UNITS, within_seconds=2)
            # It may have been dropped once and have come back, or not at all: in the end it stays.
            last = max(left, _registered_at(newer))
            assert last - left < 2
            seconds.append(round(last - left, 3))
        wait_for_allocatable(lab, UNITS)
        lab.run_pod(lab.pod("after", UNITS))
    finally:
        older.stop()
        lab.delete_all_pods()
    print(f"\nthe older left → the newer's last registration, s: {seconds}")


@pytest.mark.anyio
async def test_after_quick_successions_no_dead_plugins_units_are_healthy(
    lab: Lab, tmp_path: Path
) -> None:
    _need_listed_devices(lab)
    # A long list keeps the kubelet busy for long enough for what comes to be forgotten.
    units = 10_000
    kubelet = Real(lab)
    for succession in range(10):
        older = kubelet.plugin(tmp_path, f"older-{succession}", units=units)
        newer = kubelet.plugin(tmp_path, f"newer-{succession}", units=units)
        try:
            older.start()
            await older.logged("registered")
            newer.start()
            await newer.logged("registered")
            assert older.stop() == 0
            if lab.settings.versions.differs_by(NEWER_DROPPED):
                await newer.logged("registered", 2)
            await kubelet.has(units)
        finally:
            older.kill()
            newer.kill()
        await kubelet.has(0)


def test_a_pod_of_the_originals_time_goes_on_and_its_container_may_restart(
    lab: Lab, tmp_path: Path
) -> None:
    wait_for_allocatable(lab, 0)
    arguments = [original_mock.__file__, str(KUBELET_DIR), str(UNITS)]
    original = subprocess.Popen(lab.enter(sys.executable, *arguments))
    try:
        wait_for_allocatable(lab, UNITS)
        lab.run_pod(
            lab.pod("old-timer", ALLOCATED, restart_policy="Always", command=UNTIL_FILE_COMES)
        )
    finally:
        original.kill()
        original.wait()
    wait_for_allocatable(lab, 0)
    with Real(lab).plugin(tmp_path) as plugin:
        wait_for_allocatable(lab, UNITS)
        assert not (lab.device_plugins_dir / original_mock.SOCKET).exists()
        removed = [Path(entry["socket"]).name for entry in plugin.events("stale_socket_removed")]
        assert removed.count(original_mock.SOCKET) == 1
        assert lab.restarts("old-timer") == 0
        # The container may end before the command in it has.
        lab.kubectl("exec", "old-timer", "--", "touch", "/tmp/end", check=False)  # noqa: S108 - inside
        wait_until("its container restarted", lambda: lab.restarts("old-timer") == 1, 30)
        pod = lab.wait_pod("old-timer", "Running", 30)
        assert pod["spec"]["nodeName"] == NODE_NAME
        lab.delete_all_pods()
