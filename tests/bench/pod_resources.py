"""What reading the kubelet's allocation records costs, and how Allocate fares meanwhile."""

import asyncio
from pathlib import Path
from statistics import quantiles
from time import monotonic
from typing import Self

import grpc
import grpc.aio

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.api.podresources import v1
from tests.bench.errors import BenchError
from tests.bench.figures import Results
from tests.bench.measures import ALWAYS, node
from tests.bench.peer import WAIT_SECONDS

ALLOCATED, A_POD = 1_000, 10
READINGS = 60
RESOURCE = "huawei.com/tee-ram"


class PodResources:
    """Serves PodResources of a kubelet whose pods hold `allocated` units all over the list.

    No two answers in a row are the same bytes: an answer that is the last one costs nothing.
    """

    def __init__(self, kubelet_dir: Path, units: int, allocated: int) -> None:
        directory = kubelet_dir / "pod-resources"
        directory.mkdir(exist_ok=True)
        self._socket = directory / "kubelet.sock"
        pods = _pods(units, allocated)
        self._answers = [bytes(v1.ListPodResourcesResponse(each)) for each in (pods, pods[::-1])]
        self._server = grpc.aio.server()
        self.readings = 0

    async def __aenter__(self) -> Self:
        handlers = {"List": grpc.unary_unary_rpc_method_handler(self._list)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers),)
        )
        self._server.add_insecure_port(f"unix:{self._socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    async def _list(self, _request: bytes, _context: object) -> bytes:
        self.readings += 1
        return self._answers[self.readings % 2]


def _pods(units: int, allocated: int) -> list[v1.PodResources]:
    ids = [str(units * index // allocated) for index in range(allocated)]
    return [
        _pod(first // A_POD, ids[first : first + A_POD]) for first in range(0, allocated, A_POD)
    ]


def _pod(number: int, ids: list[str]) -> v1.PodResources:
    devices = v1.ContainerDevices(resource_name=RESOURCE, device_ids=ids)
    container = v1.ContainerResources(name="ca", devices=[devices])
    return v1.PodResources(name=f"pod-{number}", namespace="default", containers=[container])


async def refreshes(units: int, results: Results) -> None:
    """Have the allocation records read twice at each query; all CPU time counts for that."""
    allocated = min(ALLOCATED, units)
    container = v1beta1.ContainerAllocateRequest(devices_i_ds=["0"])
    request = bytes(v1beta1.AllocateRequest(container_requests=[container]))
    async with (
        node(units, interval=ALWAYS) as running,
        PodResources(running.kubelet.directory, units, allocated) as records,
    ):
        await _read(records, 2)
        before, readings = running.daemon.usage().cpu_seconds, records.readings
        await _read(records, readings + READINGS)
        cpu_seconds = running.daemon.usage().cpu_seconds - before
        results.put("refresh_cpu", units, cpu_seconds / READINGS * 1000)
        taken, until = [], records.readings + READINGS
        while records.readings < until:
            began = monotonic()
            await running.plugin.allocate(request)
            taken.append((monotonic() - began) * 1000)
    results.put("refresh_allocate_p99", units, quantiles(taken, n=100)[98])


async def _read(records: PodResources, times: int) -> None:
    deadline = monotonic() + WAIT_SECONDS
    while records.readings < times:
        if monotonic() > deadline:
            raise BenchError(f"the allocation records were read {records.readings} times only")
        await asyncio.sleep(0.005)
