"""What users see: pods that ask for TEE memory, scheduled, run, waiting, on a real cluster."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.lab import Lab
from tests.cluster.pods import condition, phase
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import (
    SCHEDULER_SECONDS,
    UNITS,
    plugin,
    unscheduled_because,
    wait_for_allocatable,
)
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import wait_until
from tests.contract.under_test import ACCESS_PATHS
from tests.plugin_process import UNIT_BYTES, Plugin

__all__ = ["plugin"]  # the fixture

FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


def test_a_pod_that_asks_for_10_units_finds_them_and_the_tee_inside(
    lab: Lab, plugin: Plugin
) -> None:
    assert plugin.running
    lab.run_pod(lab.pod("ca", 10))
    inside = dict(line.split("=", 1) for line in lab.exec("ca", "env").splitlines())
    assert inside["TEE_RAM_UNITS"] == "10"
    assert inside["TEE_RAM_UNIT_BYTES"] == str(UNIT_BYTES)
    assert inside["TEE_RAM_BYTES"] == str(10 * UNIT_BYTES)
    mounts = [line.split() for line in lab.exec("ca", "cat", "/proc/mounts").splitlines()]
    (options,) = [fields[3] for fields in mounts if fields[1] == "/var/itrustee/teecd"]
    assert "ro" in options.split(",")
    for node in ACCESS_PATHS[1:]:
        assert lab.exec("ca", "ls", "-l", node).startswith("c")
        # Read and write, as the cgroup of devices allows it.
        lab.exec("ca", "dd", f"if={node}", "of=/dev/null", "bs=1", "count=1")
        lab.exec("ca", "dd", "if=/dev/null", f"of={node}")


def test_a_pod_that_asks_for_more_than_there_is_stays_pending_with_the_reason(
    lab: Lab, plugin: Plugin
) -> None:
    assert plugin.running
    lab.apply(lab.pod("large", UNITS + 1))
    wait_until(
        "the scheduler says why",
        lambda: unscheduled_because(lab, "large"),
        SCHEDULER_SECONDS,
        accept=lambda words: "Insufficient huawei.com/tee-ram" in words,
    )
    assert phase(lab.get("pod", "large")) == "Pending"


def test_a_failing_tee_takes_the_node_out_and_its_recovery_runs_what_waited(
    lab: Lab, plugin: Plugin
) -> None:
    running = lab.run_pod(lab.pod("running", 10))
    plugin.play(fault="unreachable")
    wait_for_allocatable(lab, 0)
    lab.apply(lab.pod("waiting", 5))
    wait_until(
        "the scheduler says why",
        lambda: unscheduled_because(lab, "waiting"),
        SCHEDULER_SECONDS,
        accept=lambda words: "Insufficient huawei.com/tee-ram" in words,
    )
    plugin.play(fault="none")
    wait_for_allocatable(lab, UNITS)
    lab.wait_pod("waiting", "Running", SCHEDULER_SECONDS)
    undisturbed = lab.get("pod", "running")
    assert condition(undisturbed, "Ready") == "True"
    assert lab.restarts("running") == 0
    assert _started(undisturbed) == _started(running)


def test_a_hung_tee_keeps_no_pod_of_the_node_waiting(lab: Lab, plugin: Plugin) -> None:
    plugin.play(fault="hang")
    for name, units in (("plain", 0), ("with-units", 10)):
        lab.apply(lab.pod(name, units, node_name=NODE_NAME))
        lab.wait_pod(name, "Running", 10)
    assert plugin.count("tee_unhealthy") == 0


def test_the_metrics_tell_what_each_pod_holds_by_the_kubelets_records(
    lab: Lab, tmp_path: Path
) -> None:
    wait_for_allocatable(lab, 0)
    with Real(lab).plugin(tmp_path, listen="127.0.0.1:9840") as plugin:
        wait_for_allocatable(lab, UNITS)
        asked = {"first": 10, "second": 3}
        for pod, units in asked.items():
            lab.run_pod(lab.pod(pod, units))
        wait_until("both are known", lambda: plugin.count("units_allocated") == 2, 10)
        page = subprocess.run(
            lab.enter(sys.executable, "-c", FETCH, "http://127.0.0.1:9840/metrics"),
            capture_output=True,
            text=True,
            check=True,
        )
        told = {
            sample.labels["pod"]: int(sample.value)
            for family in text_string_to_metric_families(page.stdout)
            for sample in family.samples
            if sample.name == "teeplugin_container_allocated_units"
        }
        records = {pod: len(asyncio.run(Real(lab).allocated(pod))) for pod in asked}
        assert told == records == asked
        lab.delete_all_pods()


def _started(pod: dict[str, Any] | None) -> list[str]:
    assert pod is not None
    return [one["state"]["running"]["startedAt"] for one in pod["status"]["containerStatuses"]]
