"""The guide's own steps, typed as a user would, on the real cluster; the container as it runs."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.deploying import (
    DAEMON_SET,
    IMAGE,
    ITRUSTEE_UNITS,
    LABEL,
    NAMESPACE,
    Shell,
    clear,
    deployed,
    in_plugin,
    overlay,
    plugin_log,
    plugin_pods,
    shell,
    wait_for_newer_pod,
    wait_for_plugin,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import ready
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import wait_until
from tests.tee.build import CA_PATH

__all__ = ["shell"]  # the fixture

SIMULATED_UNITS = 128
PLAIN = "kubectl create -f deploy/tee-device-plugin.yml"

_FIND_PROGRAMS = "find / -xdev -type f -perm /111 -printf '%f\\n'"
_DISTRIBUTIONS = """\
import sys
sys.path.insert(0, "/usr/lib/tee-device-plugin/site")
from importlib.metadata import distributions
print(*(f"{one.metadata['Name']} {one.version}" for one in distributions()), sep="\\n")
"""


def test_the_guides_steps_end_with_a_pod_that_holds_tee_memory(lab: Lab, shell: Shell) -> None:
    wait_for_allocatable(lab, 0)
    try:
        shell.typed(PLAIN)
        status = wait_until(
            "the DaemonSet has looked at the nodes",
            lambda: (lab.get("daemonset", DAEMON_SET, NAMESPACE) or {}).get("status", {}),
            30,
            accept=lambda status: status.get("observedGeneration") == 1,
        )
        # No node is labelled yet.
        assert status["desiredNumberScheduled"] == 0
        assert plugin_pods(lab) == []

        shell.typed(f"kubectl label nodes {NODE_NAME} {LABEL}")
        pod = wait_for_plugin(lab)
        listed = shell.typed("kubectl get pods -A -o wide")
        print(listed)
        (line,) = [line for line in listed.splitlines() if DAEMON_SET in line]
        assert line.split()[:4] == [NAMESPACE, pod["metadata"]["name"], "1/1", "Running"]
        wait_for_allocatable(lab, ITRUSTEE_UNITS)

        shell.typed("kubectl create -f deploy/test-pod.yml")
        wait_until("the test pod is ready", lambda: ready(lab.get("pod", "test-pod-ta")), 60)
        described = shell.typed("kubectl describe node")
        allocated = described.partition("Allocated resources:")[2].partition("Events:")[0]
        print(allocated)
        assert re.search(r"huawei.com/tee-ram\s+10\s+10\s", allocated)

        log = shell.typed("kubectl logs test-pod-ta")
        print(log)
        assert "demo-ca: 10 units of 524288 bytes: 5242880 bytes" in log
        for path in ("/var/itrustee/teecd", "/dev/teelog", "/dev/tc_ns_cvm"):
            assert f"demo-ca: has {path}" in log
        wait_until(
            "the TA's log is shown",
            lambda: "demo-ta: session opened by root" in lab.logs("test-pod-ta"),
            10,
        )
        log = shell.typed(f"kubectl -n kube-system logs daemonset/{DAEMON_SET}")
        print(log)
        events = [json.loads(line)["event"] for line in log.splitlines() if line[0] == "{"]
        assert {"starting", "capacity", "registered"} <= set(events)
        shell.typed("kubectl delete -f deploy/test-pod.yml")
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
    finally:
        clear(lab)


@pytest.mark.usefixtures("shell")
def test_the_original_manifests_entry_point_starts_the_plugin(lab: Lab) -> None:
    container = {
        "name": "main",
        "image": IMAGE,
        "command": ["/entrypoint.sh"],
        "args": ["-precision", "1024", "-internal", "30", "--print-config"],
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "entry"}, "spec": spec})
    lab.wait_pod("entry", "Succeeded", 60)
    assert "precision: 1024" in lab.logs("entry")
    lab.delete_all_pods()


def test_the_simulated_tee_needs_nothing_of_the_node(lab: Lab, shell: Shell) -> None:
    wait_for_allocatable(lab, 0)
    with deployed(shell, "kubectl apply -k deploy/overlays/simulated"):
        wait_for_allocatable(lab, SIMULATED_UNITS)
        lab.run_pod(lab.pod("ca", 10))
        assert "simulated_tee" in plugin_log(lab)
    wait_for_allocatable(lab, 0)


@pytest.fixture(scope="module")
def running(lab: Lab, shell: Shell) -> Iterator[Lab]:
    """The plain manifest with the test library's iTrustee, asked often."""
    wait_for_allocatable(lab, 0)
    often = "health-interval: 0.1\nlog-format: json\nbackend-options:\n  flavour: itrustee\n"
    overlay(shell, "often", often, base="itrustee")
    with deployed(shell, "kubectl apply -k deploy/overlays/often"):
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
        yield lab


def test_the_container_has_no_capability_and_can_change_nothing(running: Lab) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in in_plugin(running, "cat", "/proc/1/status").splitlines()
        if ":\t" in line
    )
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert int(status[kind], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    mounts = [line.split() for line in in_plugin(running, "cat", "/proc/mounts").splitlines()]
    writable = {fields[1] for fields in mounts if "rw" in fields[3].split(",")}
    assert "/" not in writable
    assert "/var/lib/kubelet/device-plugins" in writable
    for path in ("/var/lib/kubelet/pod-resources", "/host/dev", "/var/itrustee"):
        assert path not in writable
    # The lab's own nodes have the numbers of /dev/null and /dev/zero, which anybody may open.
    nodes = in_plugin(running, "ls", "/host/dev").split()
    node = next(name for name in ("loop-control", "fuse", "autofs", "kmsg") if name in nodes)
    with pytest.raises(AssertionError, match="PermissionError"):
        in_plugin(running, "python3", "-c", f"open('/host/dev/{node}', 'rb')")


def test_whoever_asks_the_tee_has_the_name_that_its_white_list_admits(running: Lab) -> None:
    # The library that answers is as strict as the TEE: it has answered, or there were no units.
    pid = _host_pid(running)
    children = Path(f"/proc/{pid}/task/{pid}/children")

    def helper() -> str:
        for child in children.read_text().split():
            try:
                return Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
        return ""

    seen = wait_until(
        "a helper is seen", helper, 30, accept=lambda name: name.startswith("/vendor")
    )
    assert seen == CA_PATH


def _host_pid(lab: Lab) -> int:
    """The plugin's pid as this machine counts: in the pod's control group, and no `pause`."""
    uid = wait_for_plugin(lab)["metadata"]["uid"]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        if os.fsencode(CA_PATH) in words[1:] and uid in groups:
            return int(entry.name)
    raise AssertionError("the plugin's process isn't found")


def test_under_another_name_the_tee_refuses_and_the_pod_says_so(
    lab: Lab, shell: Shell, running: Lab
) -> None:
    stranger = "log-format: json\nbackend-options:\n  identity: /usr/bin/python3\n"
    overlay(shell, "stranger", stranger, base="itrustee")
    try:
        shell.typed("kubectl apply -k deploy/overlays/stranger")
        newer = wait_for_newer_pod(lab)
        wait_until("it is refused", lambda: '"cause": "refused"' in plugin_log(lab, newer), 30)
        # The older one goes on meanwhile.
        assert running.allocatable() == ITRUSTEE_UNITS
    finally:
        shell.typed("kubectl apply -k deploy/overlays/often")
        wait_for_plugin(lab)


def test_probes_and_metrics_answer(running: Lab) -> None:
    address = wait_for_plugin(running)["status"]["podIP"]
    for path, words in (("livez", "ok"), ("readyz", "ok"), ("metrics", "teeplugin_")):
        asked = running.enter("curl", "--silent", f"http://{address}:9840/{path}")
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
        assert words in answer.stdout


def test_the_image_has_no_compiler_and_no_installer_of_packages(running: Lab) -> None:
    programs = in_plugin(running, "sh", "-c", _FIND_PROGRAMS).split()
    assert "tee-device-plugin" in programs
    unwanted = (
        "gcc",
        "cc",
        "g++",
        "c++",
        "clang",
        "cpp",
        "ld",
        "as",
        "make",
        "pip",
        "easy_install",
    )
    found = [name for name in programs if name.rstrip("0123456789.-") in unwanted]
    assert found == []
    packages = ("-name", "pip", "-o", "-name", "pip-*", "-o", "-name", "ensurepip")
    assert in_plugin(running, "find", "/usr", "-xdev", *packages) == ""


def test_the_bill_of_materials_names_all_that_is_installed(running: Lab) -> None:
    bill = json.loads(in_plugin(running, "cat", "/usr/share/tee-device-plugin/sbom.cdx.json"))
    named = {f"{one['name']} {one.get('version')}" for one in bill["components"]}
    plugin = bill["metadata"]["component"]
    named.add(f"{plugin['name']} {plugin['version']}")
    python = in_plugin(running, "python3", "-I", "-c", _DISTRIBUTIONS).splitlines()
    assert len(python) > 10
    packages = in_plugin(running, "dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
    assert len(packages) > 50
    assert set(python) | set(packages) <= named
    files = {one["name"] for one in bill["components"] if one["type"] == "file"}
    assert {"/usr/lib64/libteec.so", "/usr/lib64/libboundscheck.so", "/usr/bin/tlogcat"} <= files


def test_what_is_installed_is_what_was_pinned(running: Lab, shell: Shell) -> None:
    pins = (shell.folder / "deploy/docker/requirements.txt").read_text()
    python = in_plugin(running, "python3", "-I", "-c", _DISTRIBUTIONS).splitlines()
    others = [line.split() for line in python if not line.startswith("teeplugin ")]
    assert [
        one for one in others if f"\n{one[0].replace('_', '-').lower()}=={one[1]} " not in pins
    ] == []
