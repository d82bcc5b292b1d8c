"""The lab's kubelet, as the contract's guarantees ask it."""

import os
import signal
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from anyio.to_thread import run_sync
from grpclib.client import Channel
from grpclib.exceptions import GRPCError, StreamTerminatedError

from teeplugin.api.podresources import v1
from tests.cluster.lab import Lab
from tests.cluster.pods import RESOURCE, phase
from tests.cluster.settings import KUBELET_DIR, NODE_NAME
from tests.contract.under_test import Handed, KubeletUnderTest, RefusedError
from tests.plugin_process import Plugin
from tests.waiting import eventually

_LOOK_INSIDE = "env; echo --; cat /proc/mounts; echo --; ls -l /dev"


class Real(KubeletUnderTest):
    """A kubelet of the lab: pods come from its API server, records from its PodResources socket."""

    pod_seconds = 60

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.kubelet_dir = lab.kubelet_dir
        self.settle_seconds = type(self).settle_seconds + lab.settings.node_status_seconds

    def plugin(
        self,
        directory: Path,
        name: str = "plugin",
        *,
        units: int = 128,
        flags: Sequence[str] = ("--health-interval", "0.1"),
        listen: str = "off",
    ) -> Plugin:
        return Plugin(
            directory,
            kubelet_dir=KUBELET_DIR,
            host_root=Path("/"),
            enter=self.lab.enter(),
            flags=flags,
            units=units,
            name=name,
            listen=listen,
        )

    async def start(self) -> None:
        await run_sync(self.lab.kubelet_start)

    async def stop(self) -> None:
        await run_sync(self.lab.kubelet_stop)

    async def kill(self) -> None:
        await run_sync(self.lab.kubelet_kill)

    async def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.lab.kubelet_pid is not None
        os.kill(self.lab.kubelet_pid, number)

    async def healthy(self) -> frozenset[str]:
        try:
            async with self._pod_resources() as records:
                answer = await records.get_allocatable_resources(v1.AllocatableResourcesRequest())
        except (OSError, GRPCError, StreamTerminatedError):
            return frozenset()
        return _ids(answer.devices)

    async def capacity(self) -> int:
        """By the node object: it follows the kubelet within its status period."""
        return await run_sync(self.lab.capacity)

    async def admit(self, pod: str, units: int) -> None:
        manifest = self.lab.pod(pod, units, node_name=NODE_NAME, restart_policy="Always")
        await run_sync(self.lab.apply, manifest)
        found = await eventually(
            f"pod {pod} runs or is refused",
            lambda: run_sync(self.lab.get, "pod", pod),
            30,
            until=lambda found: phase(found).startswith(("Running", "Failed")),
        )
        assert found is not None
        if phase(found) != "Running":
            raise RefusedError(found["status"].get("message", ""))
        self.lab.pods_run.add(found["metadata"]["uid"])

    async def allocated(self, pod: str) -> frozenset[str]:
        """By the allocation records, which are empty for a moment after the kubelet's start."""

        async def look() -> frozenset[str]:
            async with self._pod_resources() as records:
                answer = await records.list(v1.ListPodResourcesRequest())
            return frozenset().union(
                *(
                    _ids(container.devices)
                    for one in answer.pod_resources
                    if one.name == pod
                    for container in one.containers
                )
            )

        return await eventually(f"pod {pod} is in the allocation records", look)

    async def handed(self, pod: str) -> Handed:
        text = await run_sync(self.lab.exec, pod, "sh", "-c", _LOOK_INSIDE)
        environment, mounts, nodes = text.split("--\n")
        return Handed(
            environment=dict(line.split("=", 1) for line in environment.splitlines()),
            mounts={
                fields[1]: "ro" in fields[3].split(",")
                for fields in map(str.split, mounts.splitlines())
            },
            devices=frozenset(
                f"/dev/{line.split()[-1]}" for line in nodes.splitlines() if line.startswith("c")
            ),
        )

    async def remove(self, pod: str) -> None:
        await run_sync(self.lab.delete_pod, pod)

    @asynccontextmanager
    async def _pod_resources(self) -> AsyncIterator[v1.PodResourcesListerStub]:
        channel = Channel(path=os.fspath(self.kubelet_dir / "pod-resources" / "kubelet.sock"))
        try:
            yield v1.PodResourcesListerStub(channel)
        finally:
            channel.close()


def _ids(devices: Iterable[v1.ContainerDevices]) -> frozenset[str]:
    """The ids of our resource, which may be in several entries."""
    of_ours = (entry.device_ids for entry in devices if entry.resource_name == RESOURCE)
    return frozenset(device_id for ids in of_ours for device_id in ids)
