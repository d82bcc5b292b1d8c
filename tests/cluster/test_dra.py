"""Claims of TEE memory on a real cluster: amounts, shortage, faults, restarts, access."""

import json
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from teeplugin.dra.resources import FAULT_TAINT, SHORTAGE_TAINT
from tests.cluster import dra_lab
from tests.cluster.dra_lab import (
    SLICE,
    UNITS,
    claimant,
    consumed,
    device,
    driver,
    memory,
    published,
    stored,
    uid,
    units_in,
    wait_for_slice,
    wait_for_taints,
    waits_because,
    write_kubeconfig,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.cluster.waiting import wait_until
from tests.plugin_process import UNIT_BYTES, Plugin

BACK_SECONDS = 1.0
CONTAINERS = 63
REWRITES = "tee.huawei.com/units-to-claims"


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    with published(lab, tmp_path) as one:
        yield one


def back_within(began: float, what: str, is_back: Callable[[], object]) -> float:
    wait_until(what, is_back, 30)
    seconds = monotonic() - began
    print(f"\n{what} after {seconds:.2f} s")
    return seconds


def test_claims_get_their_amount_in_whole_units(lab: Lab, plugin: Plugin) -> None:
    for name, amount, given, units in (
        ("five", "5Mi", "5Mi", "10"),
        ("odd", "700Ki", "1Mi", "2"),
        ("least", None, "512Ki", "1"),
    ):
        began = monotonic()
        lab.run_pod(claimant(lab, name, amount))
        print(f"\n{name}: Running after {monotonic() - began:.1f} s")
        assert consumed(lab, name) == given
        assert units_in(lab, name) == units
    lab.apply(claimant(lab, "much", "1Gi"))
    said = waits_because(lab, "much", "cannot allocate all claims")
    print(said)
    assert phase(lab.get("pod", "much")) == "Pending"
    assert plugin.count("claim_prepared") == 3
    wait_until("the kubelet's records", lambda: plugin.count("units_allocated") == 3, 30)
    made = device(lab)
    assert made["attributes"]["flavour"] == {"string": "simulated"}
    assert made["capacity"]["containers"]["value"] == str(CONTAINERS)


def test_fifty_pods_share_the_device_and_the_64th_container_waits(lab: Lab, plugin: Plugin) -> None:
    names = [f"p{number}" for number in range(CONTAINERS)]
    for name in names:
        lab.apply(claimant(lab, name, None))
    wait_until(
        "all run",
        lambda: sum(phase(pod) == "Running" for pod in lab.pods()),
        240,
        accept=CONTAINERS.__eq__,
    )
    took = sorted(event["milliseconds"] for event in plugin.events("claim_prepared"))
    print(f"\nprepared {len(took)} claims: p50 {median(took)} ms, p99 {took[-1]} ms")
    lab.apply(claimant(lab, "more", None))
    waits_because(lab, "more", "cannot allocate all claims")
    lab.delete_pod("p0")
    lab.wait_pod("more", "Running")
    assert plugin.count("claim_not_prepared") == 0


def test_a_shortage_shrinks_the_device_never_below_what_is_claimed(
    lab: Lab, plugin: Plugin
) -> None:
    lab.run_pod(claimant(lab, "holder", "5Mi"))
    began = monotonic()
    plugin.play(pods=10 * UNIT_BYTES, others=108 * UNIT_BYTES)
    wait_for_slice(lab, 20)
    print(f"\nmemory taken → the scheduler's slice after {monotonic() - began:.1f} s")
    lab.apply(claimant(lab, "waiting", "6Mi"))
    waits_because(lab, "waiting", "cannot allocate all claims")
    plugin.play(others=118 * UNIT_BYTES)
    wait_for_slice(lab, 10)
    began = monotonic()
    plugin.play(others=0)
    lab.wait_pod("waiting", "Running")
    print(f"\nfreed memory → Running after {monotonic() - began:.1f} s")
    assert phase(lab.get("pod", "holder")) == "Running"


def test_pods_wait_where_the_memory_is_taken_and_none_fails(lab: Lab, plugin: Plugin) -> None:
    """The storm of test_storm.py: pods that ask for more than is free."""
    began = monotonic()
    plugin.play(others=118 * UNIT_BYTES)
    wait_for_slice(lab, 10)
    print(f"\nmemory taken → the scheduler's slice after {monotonic() - began:.1f} s")
    names = [f"storm{number}" for number in range(4)]
    for name in names:
        lab.apply(claimant(lab, name, "10Mi"))
    for name in names:
        waits_because(lab, name, "cannot allocate all claims")
    assert {phase(pod) for pod in lab.pods()} == {"Pending"}
    plugin.play(others=0)
    for name in names:
        lab.wait_pod(name, "Running")
    assert plugin.count("claim_not_prepared") == 0


def test_near_zero_the_device_is_tainted(lab: Lab, plugin: Plugin) -> None:
    plugin.play(others=UNITS * UNIT_BYTES)
    wait_for_taints(lab, SHORTAGE_TAINT)
    lab.apply(claimant(lab, "waiting", "5Mi"))
    waits_because(lab, "waiting", "cannot allocate all claims")
    plugin.play(others=0)
    wait_for_taints(lab)
    lab.wait_pod("waiting", "Running")


def test_a_fault_taints_tells_the_pods_and_evicts_nobody(lab: Lab, plugin: Plugin) -> None:
    before = lab.run_pod(claimant(lab, "holder", "5Mi"))
    plugin.play(fault="unreachable")
    wait_for_taints(lab, FAULT_TAINT)
    (taint,) = device(lab)["taints"]
    assert (taint["value"], taint["effect"]) == ("unreachable", "NoSchedule")
    lab.apply(claimant(lab, "waiting", None))
    waits_because(lab, "waiting", "cannot allocate all claims")
    told = wait_until("the pod's status tells", lambda: _health(lab, "holder"), 60)
    print(told)
    assert told["health"] == "Unhealthy"
    assert "a simulated fault" in told.get("message", "")
    plugin.play(fault="none")
    wait_for_taints(lab)
    lab.wait_pod("waiting", "Running")
    after = lab.get("pod", "holder")
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert phase(after) == "Running"


def _health(lab: Lab, pod: str) -> dict[str, str]:
    found = lab.get("pod", pod) or {}
    for container in found["status"]["containerStatuses"]:
        for status in container.get("allocatedResourcesStatus", ()):
            for resource in status["resources"]:
                if resource["health"] == "Unhealthy":
                    return dict(resource)
    return {}


def test_the_slice_is_back_after_a_deletion_and_after_a_kubelets_restart(
    lab: Lab, plugin: Plugin
) -> None:
    lab.run_pod(claimant(lab, "holder", "5Mi"))
    for _ in range(2):
        before, began = uid(lab), monotonic()
        lab.kubectl("delete", "resourceslice", SLICE)
        seconds = back_within(began, "deleted slice back", lambda: memory(lab))
        assert uid(lab) != before
        assert seconds < BACK_SECONDS
    registered = plugin.count("registered")
    lab.kubelet_kill()
    lab.kubelet_start(wait=False)
    wait_until("registered", lambda: plugin.count("registered") > registered, 30)
    back_within(monotonic(), "slice after the kubelet's restart", lambda: memory(lab))
    lab.kubelet_start()
    assert phase(lab.get("pod", "holder")) == "Running"
    lab.run_pod(claimant(lab, "next", "5Mi"))


def test_after_a_minute_without_the_plugin_the_slice_is_gone_and_back(
    lab: Lab, plugin: Plugin, tmp_path: Path
) -> None:
    plugin.stop()
    wait_until("the kubelet has deleted the slice", lambda: stored(lab) is None, 60)
    with driver(lab, tmp_path, "successor"):
        wait_for_slice(lab, UNITS)
        lab.run_pod(claimant(lab, "next", "5Mi"))


def test_a_rolling_update_leaves_no_gap(lab: Lab, plugin: Plugin, tmp_path: Path) -> None:
    before = uid(lab)
    lab.run_pod(claimant(lab, "first", "5Mi"))
    with driver(lab, tmp_path, "successor") as successor:
        wait_until("registered", lambda: successor.count("registered"), 30)
        plugin.stop()
        lab.run_pod(claimant(lab, "second", "5Mi"))
        lab.delete_pod("first")
        assert uid(lab) == before
        assert successor.count("claim_prepared") == 1
        lab.delete_all_pods()


def test_pods_that_are_deleted_while_the_plugin_dies_end(
    lab: Lab, plugin: Plugin, tmp_path: Path
) -> None:
    uid_before = uid(lab)
    one = plugin
    for number in range(20):
        name = f"p{number}"
        lab.apply(claimant(lab, name, "1Mi"))
        if number % 2:
            lab.wait_pod(name, "Running")
        one.kill()
        lab.kubectl("delete", "pod", name, "--wait=false")
        one = driver(lab, tmp_path, f"plugin{number}")
        one.start()
        wait_until("registered", partial(one.count, "registered"), 30)
    wait_until("all pods are gone", lambda: not lab.pods(), 60)
    assert uid(lab) == uid_before
    assert one.stop() == 0


def test_units_can_be_rewritten_into_claims(lab: Lab, plugin: Plugin) -> None:
    lab.apply((dra_lab.COMPONENT / "units-to-claims.yaml").read_text())
    lab.kubectl("label", "namespace", "default", f"{REWRITES}=on", "--overwrite")
    try:
        lab.apply(dra_lab.template("tee-ram-10", "5Mi"))

        def rewritten() -> bool:
            lab.delete_pod("units")
            lab.apply(lab.pod("units", 10))
            return "resourceClaims" in (lab.get("pod", "units") or {})["spec"]

        # The API server takes a moment to know a policy.
        wait_until("a pod is rewritten", rewritten, 30)
        lab.wait_pod("units", "Running")
        assert units_in(lab, "units") == "10"
        assert plugin.count("claim_prepared") == 1
    finally:
        lab.kubectl("label", "namespace", "default", f"{REWRITES}-")
        for kind in ("", "binding"):
            lab.kubectl("delete", f"mutatingadmissionpolicy{kind}", "--all")


def test_a_driver_may_write_its_own_nodes_slices_only(
    lab: Lab, plugin: Plugin, tmp_path: Path
) -> None:
    assert plugin.running
    bound, unbound = (write_kubeconfig(lab, tmp_path, bound=flag) for flag in (True, False))

    def applied(config: Path, **spec: str) -> str:
        body = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": "a-try"},
            "spec": {
                "driver": "tee-ram.huawei.com",
                "nodeName": "lab-node",
                "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
                "devices": [{"name": "d"}],
                **spec,
            },
        }
        command = lab.kubectl_command("apply", "--server-side", "--filename=-", "--dry-run=server")
        command = [
            f"--kubeconfig={config}" if "--kubeconfig=" in word else word for word in command
        ]
        ran = subprocess.run(
            command, input=json.dumps(body), capture_output=True, text=True, timeout=30, check=False
        )
        return ran.stdout + ran.stderr

    assert "serverside-applied" in applied(bound)
    assert "may not write slices of node 'other'" in applied(bound, nodeName="other")
    assert "not of 'gpu.example.com'" in applied(bound, driver="gpu.example.com")
    assert "bound to no node" in applied(unbound)


def test_an_unbound_token_is_told_in_the_plugins_log(lab: Lab, tmp_path: Path) -> None:
    lab.kubelet_start()
    dra_lab.prepare(lab)
    lab.kubectl("delete", "resourceslices", "--all")
    config = write_kubeconfig(lab, tmp_path, bound=False)
    with driver(lab, tmp_path, config=config) as one:
        wait_until("it is reported", lambda: one.count("api_server_failed"), 30)
        (event,) = one.events("api_server_failed")
        assert "bound to no node" in event["error"]
        assert stored(lab) is None


def test_a_node_whose_runtime_cannot_is_not_served(lab: Lab, plugin: Plugin) -> None:
    """A specification without the amount: the runtime refuses the container, and it says which."""
    assert plugin.running
    lab.apply(claimant(lab, "unknown", f"{dra_lab.MOST_UNITS}Mi"))
    told = wait_until("the container is refused", lambda: _waiting(lab, "unknown"), 60)
    print(told)
    assert "unresolvable CDI devices" in told


def _waiting(lab: Lab, pod: str) -> str:
    found = lab.get("pod", pod) or {}
    states = [each["state"] for each in found["status"].get("containerStatuses", ())]
    return "".join(state.get("waiting", {}).get("message", "") for state in states)
