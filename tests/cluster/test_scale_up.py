"""A ReplicaSet that scales up just when units turn unhealthy: pods fail until the node follows."""

from pathlib import Path
from time import time

import pytest

from tests.cluster.lab import Lab
from tests.cluster.pods import count, replica_set
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.test_shortage import published_list
from tests.cluster.test_storm import REFUSED
from tests.cluster.waiting import wait_until
from tests.plugin_process import UNIT_BYTES

UNITS, FREE_UNITS = 100, 10
REPLICAS, UNITS_EACH = 4, 20
QUIET_SECONDS = 10
"""As long as the kubelet's default of nodeStatusUpdateFrequency."""

SHORTAGE = {"others": (UNITS - FREE_UNITS) * UNIT_BYTES}
FAULT = {"fault": "unreachable"}


def ready_within(lab: Lab, seconds: float) -> bool:
    ready = f"--for=jsonpath={{.status.readyReplicas}}={REPLICAS}"
    printed = lab.kubectl("wait", "replicaset/late", ready, f"--timeout={seconds}s", check=False)
    return "condition met" in printed


def refused(lab: Lab) -> int:
    return count(lab.pods("app=late"))[REFUSED]


def wait_for_status_report(lab: Lab) -> None:
    """Wait until the kubelet has just written the node object: the next one is a period away."""

    def reported() -> set[str]:
        return {one["lastHeartbeatTime"] for one in lab.node()["status"]["conditions"]}

    before = reported()
    wait_until("the kubelet reports", reported, 30, accept=lambda now: now != before)


@pytest.mark.parametrize(
    ("what", "event", "left"),
    [(SHORTAGE, "shortage", FREE_UNITS), (FAULT, "tee_unhealthy", 0)],
    ids=["shortage", "fault"],
)
def test_no_pod_fails_once_the_node_object_follows(
    lab: Lab, tmp_path: Path, what: dict[str, str | int], event: str, left: int
) -> None:
    with published_list(lab, tmp_path, units=UNITS) as plugin:
        lab.apply(replica_set("late", 0, UNITS_EACH))
        try:
            wait_for_status_report(lab)
            plugin.play(**what)
            wait_until(event, lambda: plugin.count(event), 10)
            began = time()
            lab.kubectl("scale", "replicaset/late", f"--replicas={REPLICAS}")
            wait_for_allocatable(lab, left)
            seconds, failed = time() - began, refused(lab)
            assert not ready_within(lab, QUIET_SECONDS)
            later = refused(lab) - failed
            plugin.play(others=0, fault="none")
            assert ready_within(lab, 30)
        finally:
            lab.kubectl("delete", "replicaset", "late", "--timeout=30s")
    print(
        f"\nnodeStatusUpdateFrequency {lab.settings.node_status_seconds} s, {event}: {failed} pods "
        f"failed in the {seconds:.1f} s until the node object followed, {later} in the "
        f"{QUIET_SECONDS} s after it"
    )
    # Those that the scheduler had sent already.
    assert later <= REPLICAS
