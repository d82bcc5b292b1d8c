"""A plugin whose event loop is blocked while the kubelet waits for it in Allocate."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from time import time

import pytest

from tests.cluster.lab import Lab
from tests.cluster.pods import ready, replica_set
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import UNITS, wait_for_allocatable
from tests.cluster.settings import NODE_NAME
from tests.cluster.test_reboot import refused_pods
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

# Blocks once, in the next query, where the file is there.
PLUGIN = """
import pathlib, time
from teeplugin_backends.simulated import SimulatedTee
original, block = SimulatedTee.memory, pathlib.Path({block!r})
async def memory(self):
    if block.exists():
        block.unlink()
        time.sleep(3600)
    return await original(self)
SimulatedTee.memory = memory
import teeplugin.cli.main as cli
raise SystemExit(cli.main())
"""
ALLOCATES = "Making allocation request for device plugin"
Runs = AbstractContextManager[Callable[[], None]]
LONGEST_BLOCK_SECONDS = 30
"""15 s, as long again as the watchdog takes to look at most, and what a busy machine adds."""


def blocking(lab: Lab, directory: Path, block: Path) -> Plugin:
    plugin = Real(lab).plugin(directory)
    at = plugin.command.index("-m", plugin.command.index(sys.executable))
    plugin.command[at : at + 2] = ["-c", PLUGIN.format(block=str(block))]
    return plugin


@contextmanager
def as_a_service(lab: Lab, plugin: Plugin) -> Iterator[Callable[[], None]]:
    """Run it on the host; what is given does what systemd does when it has ended."""
    del lab

    def again() -> None:
        assert plugin.wait(LONGEST_BLOCK_SECONDS) == 70
        plugin.start()

    with plugin:
        yield again


@contextmanager
def in_a_pod(lab: Lab, plugin: Plugin) -> Iterator[Callable[[], None]]:
    """Run it in a pod, on the node's own files; the kubelet starts its container again."""
    words = plugin.command[plugin.command.index(sys.executable) :]
    line = f'exec chroot /host "$@" 2>> /host{plugin.log}'
    manifest = lab.pod(
        "plugin", 0, command=["sh", "-c", line, "sh", *words], restart_policy="Always"
    )
    (container,) = manifest["spec"]["containers"]
    container["securityContext"] = {"privileged": True}
    container["volumeMounts"] = [{"name": "host", "mountPath": "/host"}]
    manifest["spec"]["volumes"] = [{"name": "host", "hostPath": {"path": "/"}}]
    lab.run_pod(manifest)
    yield lambda: None
    assert lab.restarts("plugin") == 1


def started_at(lab: Lab, pod: str) -> float:
    """When the kubelet took it up."""
    found = lab.get("pod", pod) or {}
    return datetime.fromisoformat(found["status"]["startTime"]).timestamp()


@pytest.mark.parametrize("run", [as_a_service, in_a_pod])
def test_a_blocked_plugin_ends_itself_and_the_node_admits_pods_again(
    lab: Lab, tmp_path: Path, run: Callable[[Lab, Plugin], Runs]
) -> None:
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    block = tmp_path / "block"
    plugin = blocking(lab, tmp_path, block)
    lab.apply(replica_set("set", 0, 10))
    try:
        with run(lab, plugin) as starts_again:
            wait_for_allocatable(lab, UNITS)
            block.touch()
            wait_until("it is blocked", lambda: not block.exists(), 10)
            blocked = time()
            requests = lab.log("kubelet").read_text().count(ALLOCATES)
            lab.kubectl("scale", "replicaset/set", "--replicas=1")
            wait_until(
                "the kubelet asks it for units",
                lambda: lab.log("kubelet").read_text().count(ALLOCATES) > requests,
                10,
            )
            lab.apply(lab.pod("plain", 0, node_name=NODE_NAME))
            wait_until(
                "it ends itself", lambda: plugin.count("event_loop_blocked"), LONGEST_BLOCK_SECONDS
            )
            ended = time() - blocked
            starts_again()
            lab.wait_pod("plain", "Running")
            plain, admitted = time() - blocked, started_at(lab, "plain") - blocked
            wait_until("the set's pod runs", lambda: any(map(ready, lab.pods("app=set"))), 60)
            with_units, refused = time() - blocked, refused_pods(lab)
            (entry,) = plugin.events("event_loop_blocked")
    finally:
        lab.kubectl("delete", "replicaset", "set", "--timeout=30s")
        lab.delete_all_pods()
    print(
        f"\nblocked → ended {ended:.1f} s, a plain pod taken up {admitted:.0f} s and running "
        f"{plain:.1f} s, one with units running {with_units:.1f} s; {refused} refused"
    )
    assert entry["where"] == "<string>:8"
    # Until then nothing was admitted, with units or without.
    assert admitted > ended - 2
