"""The way from a plugin's units to the node object and the scheduler; for the tests of pods."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

UNITS = 128
SCHEDULER_SECONDS = 30
"""The node object may be seconds behind the kubelet, and the scheduler behind the node object."""


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    lab.kubelet_start()
    # The node object tells of the plugin before for a while: its units aren't this one's.
    wait_for_allocatable(lab, 0)
    with Real(lab).plugin(tmp_path) as plugin:
        wait_for_allocatable(lab, UNITS)
        yield plugin
        lab.kubelet_start()
        lab.delete_all_pods()


def wait_for_allocatable(lab: Lab, units: int) -> None:
    wait_until(
        f"{units} units are allocatable",
        lab.allocatable,
        SCHEDULER_SECONDS,
        accept=lambda seen: seen == units,
    )


def unscheduled_because(lab: Lab, pod: str) -> str:
    """Why the scheduler has found no node for a pod, by its own words; empty if it has."""
    found: dict[str, Any] = lab.get("pod", pod) or {}
    conditions = found.get("status", {}).get("conditions", [])
    return "".join(
        one.get("message", "")
        for one in conditions
        if one["type"] == "PodScheduled" and one["status"] == "False"
    )
