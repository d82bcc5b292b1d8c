"""A node that restarts, its pods kept in the API: all of it is killed but the control plane."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

import pytest

from tests.cluster.lab import Lab
from tests.cluster.pods import phase, ready, replica_set
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import UNITS, plugin, wait_for_allocatable
from tests.cluster.waiting import wait_until
from tests.notify_socket import notify_socket
from tests.plugin_process import Plugin

__all__ = ["plugin"]  # the fixture
REBOOTS = 10
REFUSED = "Failed/UnexpectedAdmissionError"


@contextmanager
def service(lab: Lab, directory: Path, name: str) -> Iterator[Plugin]:
    """The plugin as the unit starts it: the kubelet's start waits for READY=1."""
    directory.mkdir()
    with notify_socket(str(directory / "notify")) as socket:
        plugin = Real(lab).plugin(directory, name)
        plugin.environment["NOTIFY_SOCKET"] = str(directory / "notify")
        with plugin:
            wait_until("READY=1", lambda: socket.sent, 20)
            yield plugin


@pytest.fixture
def holders(lab: Lab, plugin: Plugin) -> Iterator[set[str]]:
    """Four pods that run and hold units, three of them a controller's; their uids."""
    assert plugin.running
    lab.apply(replica_set("set", 3, 5))
    try:
        lab.run_pod(lab.pod("bare", 10, restart_policy="Always"))
        wait_until("all run", lambda: ready_pods(lab), 60, accept=(4).__eq__)
        yield uids(lab)
    finally:
        lab.kubectl("delete", "replicaset", "set", "--timeout=30s")


def ready_pods(lab: Lab) -> int:
    return sum(map(ready, lab.pods()))


def uids(lab: Lab) -> set[str]:
    return {pod["metadata"]["uid"] for pod in lab.pods()}


def refused_pods(lab: Lab) -> int:
    return [phase(pod) for pod in lab.pods()].count(REFUSED)


@pytest.mark.slow
@pytest.mark.timeout(900, func_only=True)
def test_pods_come_back_where_the_service_is_up_before_the_kubelet(
    lab: Lab, holders: set[str], scratch: Path
) -> None:
    refused, seconds = 0, []
    for reboot in range(REBOOTS):
        lab.crash_node()
        with service(lab, scratch / str(reboot), "service"):
            began = time()
            lab.runtime_start()
            lab.kubelet_start()
            wait_until(
                "all run or were refused",
                lambda: ready_pods(lab) + refused_pods(lab),
                90,
                accept=(4).__le__,
            )
            seconds.append(round(time() - began, 1))
            refused += refused_pods(lab)
            assert uids(lab) == holders
    print(f"\n{REBOOTS} reboots of 4 pods: {refused} refused; all run again after s: {seconds}")
    assert not refused


@pytest.mark.slow
def test_where_the_kubelet_is_first_each_pod_is_refused_once_and_a_controllers_is_replaced(
    lab: Lab, holders: set[str], scratch: Path
) -> None:
    lab.crash_node()
    lab.runtime_start()
    lab.kubelet_start()
    wait_until("all are refused", lambda: refused_pods(lab), 60, accept=len(holders).__eq__)
    with service(lab, scratch / "late", "late"):
        wait_for_allocatable(lab, UNITS)
        wait_until("the controller's are replaced", lambda: ready_pods(lab), 60, accept=(3).__eq__)
        assert phase(lab.get("pod", "bare")) == REFUSED
