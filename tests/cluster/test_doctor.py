"""`doctor` in the plugin's own container, and beside a plugin on the host, with a real kubelet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deploying import (
    ITRUSTEE_UNITS,
    Shell,
    deployed,
    in_plugin,
    overlay,
    plugin_log,
    shell,
    wait_for_plugin,
)
from tests.cluster.doctor_beside import by_name, doctor_beside
from tests.cluster.lab import Lab
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.plugin_process import Plugin

__all__ = ["shell"]  # the fixture

_NOT_FROM_HERE = ("node-label", "versions", "long-calls", "cdi", "limits")
PROGRAM = "/vendor/bin/tee-device-plugin"
# As docs/doctor.md has it.
FLAGS = ("--config=/etc/tee-device-plugin/config.yaml", "--host-root=/host", "--listen=:9840")


def test_beside_a_plugin_on_the_host_a_kubelet_that_is_down_is_named(
    lab: Lab, tmp_path: Path
) -> None:
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    plugin = Plugin(
        tmp_path, kubelet_dir=KUBELET_DIR, host_root=Path("/"), enter=lab.enter(), units=128
    )
    with plugin:
        wait_for_allocatable(lab, 128)
        assert doctor_beside(lab, plugin)[0] == 0
        lab.kubelet_stop()
        try:
            status, checks = doctor_beside(lab, plugin)
        finally:
            lab.kubelet_start()
        assert status == 1
        failed = [name for name, check in checks.items() if check["result"] == "failed"]
        assert failed[0] == "kubelet-socket"
        assert "start the kubelet" in checks["kubelet-socket"]["fix"]
        wait_for_allocatable(lab, 128)
        status, checks = doctor_beside(lab, plugin)
        assert (status, checks["kubelet-socket"]["result"]) == (0, "ok")
    wait_for_allocatable(lab, 0)


# In the container


@pytest.fixture(scope="module")
def running(lab: Lab, shell: Shell) -> Iterator[Lab]:
    """The DaemonSet with the test library's iTrustee."""
    wait_for_allocatable(lab, 0)
    settings = "health-interval: 1\nlog-format: json\nbackend-options:\n  flavour: itrustee\n"
    overlay(shell, "doctor", settings, base="itrustee")
    with deployed(shell, "kubectl apply -k deploy/overlays/doctor"):
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
        yield lab


def test_in_the_plugins_container_nothing_fails_and_nothing_is_disturbed(running: Lab) -> None:
    running.run_pod(running.pod("ca", 10))
    try:
        for _ in range(5):
            told = json.loads(in_plugin(running, PROGRAM, "doctor", *FLAGS, "--format=json"))
        print(in_plugin(running, PROGRAM, "doctor", *FLAGS))
    finally:
        running.delete_all_pods()
    checks = by_name(told)
    # What is asked of the API server or the kernel's log, and what is off.
    assert {name: check["result"] for name, check in checks.items() if check["result"] != "ok"} == (
        dict.fromkeys(_NOT_FROM_HERE, "not applicable")
    )
    assert checks["running-settings"]["finding"] == "those of process 1, the plugin"
    assert checks["pod-resources"]["finding"].startswith(
        "10 units of huawei.com/tee-ram are allocated"
    )
    events = [line for line in plugin_log(running).splitlines() if line.startswith("{")]
    registrations = [line for line in events if '"registered"' in line or "registering" in line]
    assert len(registrations) == 1
    wait_for_allocatable(running, ITRUSTEE_UNITS)


def test_without_the_daemons_flags_it_says_which_to_give(running: Lab) -> None:
    pod = wait_for_plugin(running)["metadata"]["name"]
    shown = running.kubectl(
        *("exec", pod, "--namespace=kube-system", "--", PROGRAM, "doctor", "--format=json"),
        check=False,
    )
    fix = by_name(json.loads(shown[shown.index("{") : shown.rindex("}") + 1]))
    assert fix["running-settings"]["result"] == "warning"
    assert fix["running-settings"]["fix"].endswith(f"tee-device-plugin doctor {' '.join(FLAGS)}")
