"""A ReplicaSet on a node whose TEE is nearly full: pods that wait, or a storm of failed ones."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import original_mock
from tests.cluster.lab import Lab
from tests.cluster.pods import count, replica_set
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.cluster.test_shortage import play, published_list, wait_for_insufficient

UNITS = 100
FREE_UNITS = 10
REPLICAS = 4
UNITS_EACH = 20
WINDOW_SECONDS = 20
REFUSED = "Failed/UnexpectedAdmissionError"


@contextmanager
def storm(lab: Lab) -> Iterator[None]:
    """Have a ReplicaSet whose pods ask for more than is free; in the end take all away."""
    lab.apply(replica_set("storm", REPLICAS, UNITS_EACH))
    try:
        yield
    finally:
        lab.kubectl("delete", "replicaset", "storm", "--timeout=30s")
        lab.delete_all_pods()


def all_ready_within(lab: Lab, seconds: float) -> bool:
    """Give the ReplicaSet some time to have all its pods ready."""
    ready = f"--for=jsonpath={{.status.readyReplicas}}={REPLICAS}"
    printed = lab.kubectl("wait", "replicaset/storm", ready, f"--timeout={seconds}s", check=False)
    return "condition met" in printed


def phases(lab: Lab) -> Counter[str]:
    return count(lab.pods("app=storm"))


def with_the_plugin(lab: Lab, directory: Path) -> Counter[str]:
    """What became of the pods in the window; then, with the memory free, all of them run."""
    with published_list(lab, directory, units=UNITS) as plugin:
        play(plugin, others=UNITS - FREE_UNITS)
        wait_for_allocatable(lab, FREE_UNITS)
        with storm(lab):
            assert not all_ready_within(lab, WINDOW_SECONDS)
            seen = phases(lab)
            wait_for_insufficient(lab, *(pod["metadata"]["name"] for pod in lab.pods("app=storm")))
            play(plugin, others=0)
            assert all_ready_within(lab, 30)
            assert phases(lab) == {"Running": REPLICAS}
    return seen


def with_the_original(lab: Lab) -> Counter[str]:
    """What became of the pods where shortage is an answer to Allocate."""
    wait_for_allocatable(lab, 0)
    arguments = [original_mock.__file__, str(KUBELET_DIR), str(UNITS), str(FREE_UNITS)]
    original = subprocess.Popen(lab.enter(sys.executable, *arguments))
    try:
        wait_for_allocatable(lab, UNITS)
        with storm(lab):
            assert not all_ready_within(lab, WINDOW_SECONDS)
            return phases(lab)
    finally:
        original.kill()
        original.wait()


def test_a_replica_set_waits_where_the_original_made_a_storm_of_failed_pods(
    lab: Lab, tmp_path: Path
) -> None:
    ours = with_the_plugin(lab, tmp_path)
    original = with_the_original(lab)
    print(
        f"\n{REPLICAS} pods of {UNITS_EACH} units, {FREE_UNITS} of {UNITS} free; failed pods in "
        f"{WINDOW_SECONDS} s: ours {ours[REFUSED]}, like the original {original[REFUSED]}"
    )
    assert ours == {"Pending": REPLICAS}
    # More than the replicas: each that failed was followed by another.
    assert original[REFUSED] > REPLICAS
