"""Updates of the DaemonSet while pods hold units and others come: nobody is to notice."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from tests.cluster import original_mock
from tests.cluster.deploying import (
    DAEMON_SET,
    NAMESPACE,
    Shell,
    deployed,
    overlay,
    plugin_log,
    plugin_pods,
    shell,
    wait_for_newer_pod,
    wait_for_plugin,
    wait_until_settled,
)
from tests.cluster.kubelet_watch import Gaps, watched
from tests.cluster.lab import Lab
from tests.cluster.pods import RESOURCE, count, phase
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.cluster.test_life import UNTIL_FILE_COMES, assert_undisturbed, run_holder
from tests.cluster.waiting import wait_until

__all__ = ["shell"]  # the fixture

UNITS = 128
MAX_AT_ZERO_MS = 150
"""From the older pod's end to the newer's list, on a loaded machine."""
ROLL_SECONDS = 90
SETTINGS = (
    "log-format: json\nhealth-interval: 10\nbackend: simulated\nbackend-options:\n  total: 64MiB\n"
)
ROLLOUT = f"kubectl -n {NAMESPACE} rollout {{}} daemonset/{DAEMON_SET}"
WAIT = ROLLOUT.format("status") + f" --timeout={ROLL_SECONDS}s"


def deployment(replicas: int) -> dict[str, Any]:
    """An application of so many pods, each of which asks for units."""
    labels = {"app": "application"}
    pod = Lab.pod("unused", 2, restart_policy="Always")
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "application"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]},
        },
    }


async def rolled(shell: Shell, *lines: str) -> Gaps:
    """Type the lines of an update, wait for its end, and tell how long the kubelet had nothing."""
    await run_sync(wait_until_settled, shell.lab)
    async with watched(shell.lab) as gaps:
        for line in (*lines, WAIT):
            await run_sync(shell.typed, line)
        # The older pod leaves after the newer one is available.
        await run_sync(wait_for_plugin, shell.lab)
        await run_sync(wait_until, "one pod is left", partial(_only_one, shell.lab), 30)
    return gaps


def _only_one(lab: Lab) -> bool:
    return len(lab.pods(f"name={DAEMON_SET}", NAMESPACE)) == 1


async def create_pods(lab: Lab, names: list[str]) -> None:
    """Create a pod that asks for a unit each second, until cancelled."""
    began = monotonic()
    while True:
        name = f"passer-by-{len(names)}"
        await run_sync(lab.apply, lab.pod(name, 1))
        names.append(name)
        await anyio.sleep(max(0, began + len(names) - monotonic()))


@pytest.mark.anyio
async def test_two_updates_and_a_rollback_leave_the_kubelet_without_units_for_milliseconds(
    lab: Lab, shell: Shell, record_property: Callable[[str, object], None]
) -> None:
    await run_sync(wait_for_allocatable, lab, 0)
    overlay(shell, "updated", SETTINGS)
    with deployed(shell, "kubectl apply -k deploy/overlays/updated"):
        wait_for_allocatable(lab, UNITS)
        holder = run_holder(lab)
        lab.apply(deployment(3))
        names: list[str] = []
        found: dict[str, Gaps] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create_pods, lab, names)
            found["restart"] = await rolled(shell, ROLLOUT.format("restart"))
            overlay(shell, "updated", SETTINGS.replace("10", "11"))
            await run_sync(lab.apply, deployment(6))
            found["new settings"] = await rolled(shell, "kubectl apply -k deploy/overlays/updated")
            found["rollback"] = await rolled(shell, ROLLOUT.format("undo"))
            tasks.cancel_scope.cancel()
        check_rolls(lab, found, names, record_property)
        assert_undisturbed(lab, holder)
        wait_until(
            "the application runs in full",
            lambda: (lab.get("deployment", "application") or {}).get("status", {}),
            30,
            accept=lambda status: status.get("readyReplicas") == 6,
        )


def check_rolls(
    lab: Lab,
    found: Mapping[str, Gaps],
    created: Sequence[str],
    record_property: Callable[[str, object], None],
) -> None:
    """See how long the kubelet had nothing in each update, and what became of pods meanwhile."""
    wait_until("all pods have been looked at", _decided(lab), 60)
    phases = count(pod for pod in lab.pods() if pod["metadata"]["name"].startswith("passer"))
    for update, gaps in found.items():
        print(f"\n{update}: {gaps}")
    refused = phases["Failed/UnexpectedAdmissionError"]
    record_property("created_pods", len(created))
    record_property("refused_pods", refused)
    print(f"of {len(created)} pods created meanwhile, one a second, {refused} were refused")
    for gaps in found.values():
        assert gaps.lists > 0  # else the log was not understood
        assert sum(gaps.by_log_ms) <= MAX_AT_ZERO_MS
    # One a second: so many an update at the very most.
    assert refused <= len(found) * -(-MAX_AT_ZERO_MS // 1000)
    assert phases["Running"] + refused == len(created)


def _decided(lab: Lab) -> Callable[[], bool]:
    """Give what tells whether the kubelet has decided on all pods."""
    return lambda: "Pending" not in {phase(pod) for pod in lab.pods()}


def test_settings_that_cant_be_used_are_told_while_the_older_pod_serves(
    lab: Lab, shell: Shell
) -> None:
    wait_for_allocatable(lab, 0)
    overlay(shell, "mistaken", SETTINGS)
    with deployed(shell, "kubectl apply -k deploy/overlays/mistaken"):
        wait_for_allocatable(lab, UNITS)
        older = wait_for_plugin(lab)
        holder = run_holder(lab)
        wait_until_settled(lab)
        overlay(shell, "mistaken", f"precision: 5\n{SETTINGS}")
        shell.typed("kubectl apply -k deploy/overlays/mistaken")
        newer = wait_for_newer_pod(lab)
        told = wait_until("it says why", lambda: plugin_log(lab, newer), 30)
        print(told)
        assert told.count("\n") == 1
        assert "precision: 5: must be 512 or more" in told
        assert plugin_pods_ready(lab) == [older["metadata"]["name"]]
        lab.run_pod(lab.pod("meanwhile", 10))
        assert lab.allocatable() == UNITS
        overlay(shell, "mistaken", SETTINGS)
        shell.typed("kubectl apply -k deploy/overlays/mistaken")
        shell.typed(WAIT)
        # It is the same pod: nothing was lost, nothing was restarted.
        assert wait_for_plugin(lab)["metadata"]["uid"] == older["metadata"]["uid"]
        assert_undisturbed(lab, holder)


def plugin_pods_ready(lab: Lab) -> list[str]:
    return [
        pod["metadata"]["name"]
        for pod in plugin_pods(lab)
        for condition in pod["status"]["conditions"]
        if (condition["type"], condition["status"]) == ("Ready", "True")
    ]


def test_from_the_originals_daemon_set_to_ours_pods_go_on(lab: Lab, shell: Shell) -> None:
    wait_for_allocatable(lab, 0)
    arguments = [original_mock.__file__, str(KUBELET_DIR), str(UNITS)]
    original = subprocess.Popen(lab.enter(sys.executable, *arguments))
    try:
        wait_for_allocatable(lab, UNITS)
        holder = run_holder(lab)
        lab.run_pod(lab.pod("old-timer", 10, restart_policy="Always", command=UNTIL_FILE_COMES))
        overlay(shell, "ours", SETTINGS)
        with deployed(shell, "kubectl apply -k deploy/overlays/ours"):
            original.kill()
            original.wait()
            registered = wait_until("ours is registered", lambda: _events(lab, "registered"), 30)
            assert registered
            wait_for_allocatable(lab, UNITS)
            assert_undisturbed(lab, holder)
            assert lab.restarts("old-timer") == 0
            lab.exec("old-timer", "touch", "/tmp/end")  # noqa: S108 - inside the container
            wait_until("its container restarted", lambda: lab.restarts("old-timer") == 1, 30)
            lab.wait_pod("old-timer", "Running", 30)
            allocated = _allocated(lab)
            assert allocated[RESOURCE] == "20"
    finally:
        original.kill()
        original.wait()
        lab.delete_all_pods()


def _events(lab: Lab, name: str) -> list[dict[str, Any]]:
    lines = [line for line in plugin_log(lab).splitlines() if line.startswith("{")]
    return [entry for entry in map(json.loads, lines) if entry["event"] == name]


def _allocated(lab: Lab) -> dict[str, str]:
    """What the node's description counts as allocated, by resource: the number of requests."""
    allocated = lab.kubectl("describe", "node").partition("Allocated resources:")[2]
    rows = (line.split() for line in allocated.splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 2}
