"""`serve: dra` on a runtime that ignores CDI devices: no slice, and no claim is prepared.

Run with `--containerd 1.6`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from teeplugin.dra.resources import Node, Offer, Traits, resource_slice
from tests.cluster import dra_lab
from tests.cluster.dra_lab import UNITS, claimant, driver, refused_because, stored
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import wait_until
from tests.plugin_process import UNIT_BYTES, Plugin

RULE = "which may start containers without the TEE: must be containerd 2.0 or newer"
FIX = "update it, or use serve: device-plugin"


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    lab.kubelet_start()
    dra_lab.prepare(lab)
    try:
        with driver(lab, tmp_path) as one:
            wait_until("registered", lambda: one.count("registered"), 30)
            yield one
            lab.delete_all_pods()
    finally:
        lab.kubectl("delete", "resourceclaims,resourceclaimtemplates", "--all", "--wait=false")
        lab.kubectl("delete", "resourceslices", "--all")


def test_the_node_is_not_served_and_a_claim_that_is_allocated_is_refused(
    lab: Lab, plugin: Plugin
) -> None:
    wait_until("it says so", lambda: plugin.count("node_not_served"), 30)
    (event,) = plugin.events("node_not_served")
    print(event["problem"])
    runtime = lab.node()["status"]["nodeInfo"]["containerRuntimeVersion"]
    assert runtime.startswith("containerd://1.6.")
    assert event["problem"] == f"the node's runtime is {runtime}, {RULE}; {FIX}"
    assert stored(lab) is None
    # A slice that is there all the same, as from before a downgrade of the runtime.
    node = Node(NODE_NAME, lab.node()["metadata"]["uid"])
    left = resource_slice(Offer(UNITS, UNIT_BYTES), node, Traits())
    left["metadata"]["name"] = "left-over"
    lab.apply(left)
    lab.apply(claimant(lab, "ca", "5Mi"))
    told = refused_because(lab, "ca")
    print(told)
    assert f"the node's runtime is {runtime}, {RULE}; {FIX}" in told
    assert phase(lab.get("pod", "ca")) == "Pending"
    assert plugin.count("claim_prepared") == 0
    (event,) = plugin.events("claim_not_prepared")
    assert RULE in event["error"]
