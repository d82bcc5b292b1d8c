"""Which containers hold units by their claims: read from PodResources, kept as ids.

Claims have an amount, and no ids. Each gets ids of its own here, the lowest that are free, so that
policy, metrics and the status count claims as they count the device plugin's units. A claim that
several containers use counts once, since they have the same ids.
"""

from collections.abc import Iterator

from teeplugin.dra.claims import ClaimRef
from teeplugin.dra.resources import DRIVER
from teeplugin.kubelet.pod_resources_answer import containers_in
from teeplugin.kubelet.protobuf_wire import fields
from teeplugin.policy import cdi
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import IdSet

# protos/podresources/v1: the numbers of the fields that are read.
_CLAIM_NAME, _CLAIM_NAMESPACE, _CLAIM_RESOURCES = 2, 3, 4
_RESOURCE_CDI_DEVICES, _RESOURCE_DRIVER = 1, 2
_CDI_NAME = 1

ClaimName = tuple[str, str]
"""Namespace and name."""


class ClaimHolders:
    """The ids of each claim that is prepared here, or that the kubelet reports."""

    def __init__(self) -> None:
        self._ids: dict[ClaimName, IdSet] = {}
        self._prepared: set[ClaimName] = set()

    def prepare(self, claim: ClaimRef, units: int) -> IdSet:
        """Give a claim its ids: the same as long as it is there with this amount."""
        name = claim.namespace, claim.name
        self._prepared.add(name)
        return self._ids_of(name, units)

    def release(self, claim: ClaimRef) -> None:
        """A claim is unprepared: once the kubelet doesn't report it either, its ids are free."""
        self._prepared.discard((claim.namespace, claim.name))

    def read(self, data: bytes) -> Iterator[Holder | None]:
        """Give each container with claims of ours, and None after each pod.

        Raises:
            ValueError: the bytes are no answer of PodResources.
        """
        reported: set[ClaimName] = set()
        for container in containers_in(data):
            if container is None:
                yield None
                continue
            ids = IdSet()
            for start, end in container.claims:
                name, units = _claim(data, start, end)
                if units:
                    reported.add(name)
                    ids |= self._ids_of(name, units)
            if ids:
                yield Holder(container.namespace, container.pod, container.name, ids)
        for name in self._ids.keys() - reported - self._prepared:
            del self._ids[name]

    def _ids_of(self, name: ClaimName, units: int) -> IdSet:
        ids = self._ids.get(name, IdSet())
        if len(ids) != units:
            self._ids.pop(name, None)
            taken = IdSet()
            for each in self._ids.values():
                taken |= each
            free = IdSet.first(taken.end + units) - taken
            ids = self._ids[name] = free.lowest(units)
        return ids


def _claim(data: bytes, start: int, end: int) -> tuple[ClaimName, int]:
    """A claim's name and how many units our devices of it are; 0 if none is ours."""
    namespace = name = ""
    units = 0
    for number, begin, until in fields(data, start, end):
        if number == _CLAIM_NAME:
            name = data[begin:until].decode()
        elif number == _CLAIM_NAMESPACE:
            namespace = data[begin:until].decode()
        elif number == _CLAIM_RESOURCES:
            units = max(units, _units(data, begin, until))
    return (namespace, name), units


def _units(data: bytes, start: int, end: int) -> int:
    driver, names = b"", []
    for number, begin, until in fields(data, start, end):
        if number == _RESOURCE_DRIVER:
            driver = data[begin:until]
        elif number == _RESOURCE_CDI_DEVICES:
            names += [
                data[first:last].decode()
                for inner, first, last in fields(data, begin, until)
                if inner == _CDI_NAME
            ]
    if driver != DRIVER.encode():
        return 0
    return sum(cdi.units_of(name) or 0 for name in names)
