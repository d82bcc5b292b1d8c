"""v1.PodResourcesLister as the kubelet serves it, out of the device manager's records."""

from collections.abc import Callable, Iterable

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from teeplugin.api.podresources.v1 import (
    AllocatableResourcesRequest,
    AllocatableResourcesResponse,
    ContainerDevices,
    ContainerResources,
    GetPodResourcesRequest,
    GetPodResourcesResponse,
    ListPodResourcesRequest,
    ListPodResourcesResponse,
    PodResources,
    PodResourcesListerBase,
)
from teeplugin.simulator.device_manager import DeviceManager, Holding


class PodResourcesService(PodResourcesListerBase):
    """Lists pods once the kubelet's sources are ready; before that the list is empty."""

    def __init__(self, devices: DeviceManager, sources_ready: Callable[[], bool]) -> None:
        self._devices = devices
        self._sources_ready = sources_ready

    async def list(self, message: ListPodResourcesRequest) -> ListPodResourcesResponse:
        """Every pod with its containers and their devices."""
        del message
        return ListPodResourcesResponse(pod_resources=_pods(self._ready_holdings()))

    async def get(self, message: GetPodResourcesRequest) -> GetPodResourcesResponse:
        """One pod."""
        for pod in _pods(self._ready_holdings()):
            if (pod.namespace, pod.name) == (message.pod_namespace, message.pod_name):
                return GetPodResourcesResponse(pod_resources=pod)
        raise GRPCError(
            Status.UNKNOWN,
            f"pod {message.pod_name} in namespace {message.pod_namespace} not found",
        )

    async def get_allocatable_resources(
        self, message: AllocatableResourcesRequest
    ) -> AllocatableResourcesResponse:
        """Every healthy device, allocated or not."""
        del message
        return AllocatableResourcesResponse(
            devices=[
                one
                for name, book in self._devices.resources.items()
                for one in _rows(name, book.healthy)
            ]
        )

    def _ready_holdings(self) -> Iterable[Holding]:
        return self._devices.holdings if self._sources_ready() else ()


def _pods(holdings: Iterable[Holding]) -> list[PodResources]:
    pods: dict[tuple[str, str], PodResources] = {}
    for holding in holdings:
        pod = pods.setdefault(
            (holding.namespace, holding.pod),
            PodResources(name=holding.pod, namespace=holding.namespace),
        )
        pod.containers.append(_container(holding))
    return list(pods.values())


def _container(holding: Holding) -> ContainerResources:
    return ContainerResources(name=holding.container, devices=_rows(holding.resource, holding.ids))


def _rows(resource: str, ids: Iterable[str]) -> list[ContainerDevices]:
    """One entry for each device, as the kubelet's are where devices name no NUMA node."""
    return [ContainerDevices(resource_name=resource, device_ids=[one]) for one in ids]
