"""The kubelet's device manager: devices, their health, and who holds which. No I/O, no clock.

Written by the kubelet as lists arrive and pods come and go; refusals are worded as the kubelet's.
"""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from teeplugin.simulator.connection import PluginClient
from teeplugin.simulator.wire import DeviceList


class DeviceError(Exception):
    """No devices can be given to a container; the text is the kubelet's own."""


@dataclass(slots=True)
class Resource:
    """What is known of one resource; `client` is None while nothing serves it."""

    ids: frozenset[str] = frozenset()
    healthy: frozenset[str] = frozenset()
    client: PluginClient | None = None
    preferred_allocation: bool = False
    pre_start: bool = False
    stopped_at: float | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """One container's devices, and the serialized answer that its Allocate gave."""

    namespace: str
    pod: str
    container: str
    resource: str
    ids: frozenset[str]
    response: bytes = b""


class DeviceManager:
    """All resources and holdings of one kubelet."""

    def __init__(self) -> None:
        self.resources: dict[str, Resource] = {}
        self.holdings: list[Holding] = []
        self._pending: dict[str, set[str]] = {}

    def listed(self, resource: str, devices: DeviceList) -> None:
        """A list has arrived: it replaces all that was known."""
        book = self.resources.setdefault(resource, Resource())
        book.ids, book.healthy = devices.ids, devices.healthy

    def disconnected(self, resource: str, now: float) -> None:
        """The plugin is gone: every device is unhealthy at once."""
        book = self.resources.get(resource)
        if book is not None:
            book.client, book.healthy, book.stopped_at = None, frozenset(), now

    def capacity(self, resource: str, now: float, grace_seconds: float) -> int:
        """All devices; none once the plugin has been away for longer than the grace."""
        book = self.resources.get(resource, Resource())
        if book.stopped_at is not None and now - book.stopped_at >= grace_seconds:
            return 0
        return len(book.ids)

    def healthy(self, resource: str) -> frozenset[str]:
        """The allocatable ids, allocated ones included."""
        return self.resources.get(resource, Resource()).healthy

    def allocated_ids(self, resource: str) -> frozenset[str]:
        """Ids of every container, with those an Allocate is under way for."""
        allocated = (holding.ids for holding in self.holdings if holding.resource == resource)
        return frozenset(self._pending.get(resource, ())).union(*allocated)

    def available(self, resource: str) -> frozenset[str]:
        """Healthy ids that nobody holds."""
        return self.healthy(resource) - self.allocated_ids(resource)

    def of_pod(self, namespace: str, pod: str) -> Iterator[Holding]:
        """A pod's holdings, in the order of its containers."""
        return (one for one in self.holdings if (one.namespace, one.pod) == (namespace, pod))

    def usable(self, resource: str) -> Resource:
        """The resource's book, if a container could be given devices of it.

        Raises:
            DeviceError: it was never registered, or has no healthy device.
        """
        book = self.resources.get(resource)
        if book is None:
            raise DeviceError(f"cannot allocate unregistered device {resource}")
        if not book.healthy:
            raise DeviceError(
                f"no healthy devices present; cannot allocate unhealthy devices {resource}"
            )
        return book

    def check_restart(self, holding: Holding) -> Resource:
        """The resource's book, if a container with these devices may start again.

        Raises:
            DeviceError: one of its devices isn't healthy any more.
        """
        book = self.usable(holding.resource)
        if not holding.ids <= book.healthy:
            raise DeviceError(
                "previously allocated devices are no longer healthy; "
                f"cannot allocate unhealthy devices {holding.resource}"
            )
        return book

    def choose(self, resource: str, units: int, preferred: list[str]) -> frozenset[str]:
        """Take ids that are free, preferred ones first, the rest at random; they are pending.

        Raises:
            DeviceError: there are not enough.
        """
        self.usable(resource)
        available = self.available(resource)
        if len(available) < units:
            raise DeviceError(
                f"requested number of devices unavailable for {resource}. "
                f"Requested: {units}, Available: {len(available)}"
            )
        wanted = [name for name in dict.fromkeys(preferred) if name in available][:units]
        rest = list(available.difference(wanted))
        chosen = frozenset(wanted + random.sample(rest, units - len(wanted)))
        self._pending.setdefault(resource, set()).update(chosen)
        return chosen

    def settle(self, resource: str, ids: frozenset[str], holding: Holding | None) -> None:
        """End the pending of `ids`: as a holding, or free again."""
        self._pending[resource] -= ids
        if holding is not None:
            self.holdings.append(holding)

    def release(self, namespace: str, pod: str) -> int:
        """Take a pod off the allocation records; return how many devices came free."""
        gone = list(self.of_pod(namespace, pod))
        self.holdings = [one for one in self.holdings if one not in gone]
        return sum(len(one.ids) for one in gone)

    def checkpoint(self) -> str:
        """What survives a restart of the kubelet: holdings, and the names of the resources."""
        entries = [
            {
                "PodUID": f"{one.namespace}/{one.pod}",
                "ContainerName": one.container,
                "ResourceName": one.resource,
                "DeviceIDs": {"-1": sorted(one.ids)},
                "AllocResp": base64.b64encode(one.response).decode(),
            }
            for one in self.holdings
        ]
        registered: dict[str, list[str]] = {name: [] for name in self.resources}
        return json.dumps({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": registered}})

    @classmethod
    def restored(cls, checkpoint: str, now: float) -> "DeviceManager":
        """Books after a restart: holdings are back, devices wait for their plugin."""
        manager = cls()
        data = json.loads(checkpoint)["Data"]
        for name in data["RegisteredDevices"]:
            manager.resources[name] = Resource(stopped_at=now)
        for entry in data["PodDeviceEntries"]:
            namespace, _, pod = entry["PodUID"].partition("/")
            manager.holdings.append(
                Holding(
                    namespace=namespace,
                    pod=pod,
                    container=entry["ContainerName"],
                    resource=entry["ResourceName"],
                    ids=frozenset(entry["DeviceIDs"]["-1"]),
                    response=base64.b64decode(entry["AllocResp"]),
                )
            )
        return manager
