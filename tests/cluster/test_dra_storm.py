"""The storms of test_storm.py and test_scale_up.py with claims: pods wait, and none fails."""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from time import time
from typing import Any

import pytest

from teeplugin.dra.resources import FAULT_TAINT
from tests.cluster.dra_lab import (
    published,
    template,
    wait_for_slice,
    wait_for_taints,
    waits_because,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import count, replica_set
from tests.cluster.test_scale_up import (
    FAULT,
    FREE_UNITS,
    QUIET_SECONDS,
    REPLICAS,
    SHORTAGE,
    UNITS,
    UNITS_EACH,
    ready_within,
    wait_for_status_report,
)
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

WINDOW_SECONDS = 20
NAME = "late"


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    with published(lab, tmp_path, units=UNITS) as one:
        lab.apply(template(NAME, f"{UNITS_EACH // 2}Mi"))
        yield one
        lab.kubectl("delete", "replicaset", NAME, "--timeout=30s")


def claimants(replicas: int) -> dict[str, Any]:
    """A ReplicaSet whose pods each claim as much as those of the other storms ask for."""
    made = replica_set(NAME, replicas, 0)
    spec = made["spec"]["template"]["spec"]
    spec["resourceClaims"] = [{"name": "tee", "resourceClaimTemplateName": NAME}]
    spec["containers"][0]["resources"] = {"claims": [{"name": "tee"}]}
    return made


def phases(lab: Lab) -> dict[str, int]:
    return dict(count(lab.pods(f"app={NAME}")))


def logged_at(plugin: Plugin, event: str) -> float:
    """When the plugin last logged an event."""
    return datetime.fromisoformat(plugin.events(event)[-1]["timestamp"]).timestamp()


def failed(lab: Lab) -> int:
    return sum(number for phase, number in phases(lab).items() if phase.startswith("Failed"))


def test_a_replica_set_waits_for_memory_and_none_of_its_pods_fails(
    lab: Lab, plugin: Plugin
) -> None:
    plugin.play(**SHORTAGE)
    wait_for_slice(lab, FREE_UNITS)
    lab.apply(claimants(REPLICAS))
    assert not ready_within(lab, WINDOW_SECONDS)
    seen = phases(lab)
    print(f"\n{REPLICAS} pods of {UNITS_EACH} units, {FREE_UNITS} of {UNITS} free: {seen}")
    assert seen == {"Pending": REPLICAS}
    for pod in lab.pods(f"app={NAME}"):
        waits_because(lab, pod["metadata"]["name"], "cannot allocate all claims")
    plugin.play(others=0)
    assert ready_within(lab, 30)
    assert phases(lab) == {"Running": REPLICAS}
    assert plugin.count("claim_not_prepared") == 0


@pytest.mark.parametrize(
    ("what", "event", "is_known"),
    [
        (SHORTAGE, "shortage", partial(wait_for_slice, units=FREE_UNITS)),
        (FAULT, "tee_unhealthy", lambda lab: wait_for_taints(lab, FAULT_TAINT)),
    ],
    ids=["shortage", "fault"],
)
def test_no_pod_fails_also_where_it_comes_before_the_scheduler_knows(
    lab: Lab,
    plugin: Plugin,
    what: dict[str, str | int],
    event: str,
    is_known: Callable[[Lab], None],
) -> None:
    """At the worst moment for a device plugin: its units are in the node object a period later."""
    lab.apply(claimants(0))
    wait_for_status_report(lab)
    plugin.play(**what)
    wait_until(event, lambda: plugin.count(event), 10)
    began = time()
    lab.kubectl("scale", f"replicaset/{NAME}", f"--replicas={REPLICAS}")
    is_known(lab)
    seconds = time() - began
    written = logged_at(plugin, "slice_published") - logged_at(plugin, event)
    assert not ready_within(lab, QUIET_SECONDS)
    seen = phases(lab)
    plugin.play(others=0, fault="none")
    assert ready_within(lab, 50)
    print(
        f"\nnodeStatusUpdateFrequency {lab.settings.node_status_seconds} s, {event}: the slice was "
        f"written {written:.2f} s after it, kubectl saw it {seconds:.1f} s after the scale-up; "
        f"{QUIET_SECONDS} s later {seen}"
    )
    assert failed(lab) == 0
