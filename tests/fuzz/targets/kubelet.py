"""What the kubelet sends and writes: requests, PodResources, its checkpoint; and lists for it."""

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grpclib import GRPCError, Status
from grpclib.metadata import encode_grpc_message

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.api.podresources import v1 as podresources
from teeplugin.commands.doctor.checkpoint import FILE_NAME, recorded_allocations
from teeplugin.kubelet.device_plugin_service import DevicePluginService, RequestCodec
from teeplugin.kubelet.pod_resources_answer import holders_in
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import DeviceList, IdSet, PublishedList
from teeplugin.policy.units import MAX_UNITS
from teeplugin.primitives.latest import Latest
from teeplugin.simulator.registration_server import _refusal
from teeplugin.simulator.wire import MalformedMessageError, parse_device_list
from teeplugin_backends.base import ContainerAccess, Device, Mount
from tests.fuzz.target import Target, result_of

RESOURCE = "huawei.com/tee-ram"
UNITS = 12
FAULT = "unreachable: nobody answers"

_ACCESS = ContainerAccess((Mount("/a", "/a"),), (Device("/b", "/b"),), {"TEE": "itrustee"})
_LOOP = asyncio.new_event_loop()
"""For what may have to wait for its turn."""

_MESSAGES: tuple[Any, ...] = (
    v1beta1.RegisterRequest,
    v1beta1.Empty,
)


# Requests, as they reach the service


def requests(data: bytes) -> None:
    """Every message that a caller sends: INVALID_ARGUMENT, or a message that can be served."""
    for message_type in _MESSAGES:
        try:
            message = RequestCodec().decode(data, message_type)
        except GRPCError as error:
            _told(error, Status.INVALID_ARGUMENT)
            continue
        _serve(message)
    for fault in (None, FAULT):
        _allocate(service_of(fault), data, fault)


def _serve(message: Any) -> None:
    if isinstance(message, v1beta1.RegisterRequest):
        _refusal(message)
    else:
        bytes(result_of(service_of(fault=None).get_device_plugin_options(message)))


def _allocate(service: DevicePluginService, data: bytes, fault: str | None) -> None:
    """The service reads the bytes by itself: as the generated parser does, where that can."""
    asked: list[list[str]] | None = None
    with contextlib.suppress(Exception):  # betterproto2 raises many kinds on bad bytes
        parsed = v1beta1.AllocateRequest.parse(data).container_requests
        # It reads some messages that are none; what it would write itself of the ids is one.
        ids_alone = [
            v1beta1.ContainerAllocateRequest(devices_i_ds=each.devices_i_ds) for each in parsed
        ]
        if bytes(v1beta1.AllocateRequest(container_requests=ids_alone)) == data:
            asked = [each.devices_i_ds for each in parsed]
    try:
        containers = _LOOP.run_until_complete(service._allocable(data))
    except GRPCError as error:
        _told(error, Status.UNAVAILABLE if fault else Status.INVALID_ARGUMENT)
        assert fault or asked is None or not all(map(_listed, asked)), data
        return
    assert fault is None
    assert asked is None or [list(map(str, ids)) for ids in containers] == asked, asked


def _listed(ids: Sequence[str]) -> bool:
    return len(set(ids)) == len(ids) and set(ids) <= set(map(str, range(UNITS)))


def service_of(fault: str | None) -> DevicePluginService:
    """A service that lists a few units, unhealthy ones if there is a fault."""
    return DevicePluginService(
        latest_list=Latest[PublishedList | None](
            PublishedList(DeviceList(IdSet.first(UNITS)), b"", fault)
        ),
        watch_streams=WatchStreams(),
        access=lambda: _ACCESS,
        resource_name="huawei.com/tee-ram",
        unit_bytes=512 * 1024,
        on_allocated=lambda _: None,
    )


def _told(error: GRPCError, *statuses: Status) -> None:
    assert error.status in statuses, error
    assert error.message, error
    encode_grpc_message(error.message)


# The other way round: a plugin's list, as the simulated kubelet reads it


def device_list(data: bytes) -> None:
    """As the generated parser reads it, wherever both can; else MalformedMessageError."""
    try:
        found = parse_device_list(data)
    except MalformedMessageError:
        found = None
    message = _parsed(v1beta1.ListAndWatchResponse, data)
    if message is None:
        return
    again = parse_device_list(bytes(_known(message)))
    assert again.ids == {device.id for device in message.devices}, message
    healthy = {device.id for device in message.devices if device.health == "Healthy"}
    assert again.healthy == healthy, message
    if found is not None:
        assert (found.ids, found.healthy) == (again.ids, again.healthy), message


def _parsed(message_type: Any, data: bytes) -> Any:
    """Parse with the generated parser; what it can't is not our concern here."""
    try:
        return message_type.parse(data)
    except Exception:  # noqa: BLE001 - betterproto2 raises many kinds on bad bytes
        return None


def _known(message: Any) -> Any:
    """Give a message without fields that aren't known: betterproto2 keeps them, cut off or not."""
    return type(message).from_dict(message.to_dict())


# PodResources


def pod_resources(data: bytes) -> None:
    """As the generated parser reads it, wherever both can; else ValueError."""
    try:
        found = _read(data)
    except ValueError:
        found = None
    message = _parsed(podresources.ListPodResourcesResponse, data)
    expected = None if message is None else _holders(message)
    if expected is not None:
        assert found in (None, expected), (found, message)


def _read(data: bytes) -> list[Holder]:
    return [holder for holder in holders_in(data, RESOURCE) if holder is not None]


def _holders(message: podresources.ListPodResourcesResponse) -> list[Holder] | None:
    """Who holds what; None where a field has another type than it should, which isn't checked."""
    holders = []
    try:
        written = bytes(_known(message))
        for pod in message.pod_resources:
            for container in pod.containers:
                names = (pod.namespace, pod.name, container.name)
                if not all(isinstance(name, str) for name in names):
                    return None
                if ids := _ids(container):
                    holders.append(Holder(*names, ids))
    except (AttributeError, TypeError, ValueError):
        return None
    # What is written again is a message without whatever isn't known of the first.
    assert _read(written) == holders, message
    return holders


def _ids(container: podresources.ContainerResources) -> IdSet:
    texts = [
        text
        for devices in container.devices
        if devices.resource_name == RESOURCE
        for text in devices.device_ids
    ]
    return IdSet.of(int(text) for text in texts if _is_id(text))


def _is_id(text: str) -> bool:
    """Whether it is a decimal number of ours, said in another way than in the product."""
    try:
        return str(int(text[:10])) == text and 0 <= int(text) < MAX_UNITS
    except ValueError:
        return False


# The checkpoint


def checkpoint(data: bytes) -> None:
    """Units by their bytes, or nothing: no error leaves."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / FILE_NAME).write_bytes(data)
        found = recorded_allocations(Path(directory), RESOURCE)
    assert all(each.unit_bytes >= 0 for each in found), found
    assert sum(len(each.ids) for each in found) <= len(data), found


TARGETS = (
    Target("requests", requests, words=(b"\x0a\x03\x0a\x010", b"\x0a\x01", "v1beta1", RESOURCE)),
    Target("device-list", device_list, words=(b"\x0a\x0c\x0a\x010\x12\x07Healthy", "Unhealthy")),
    Target("pod-resources", pod_resources, words=(b"\x0a\x12" + RESOURCE.encode(), b"\x12\x010")),
    Target(
        "checkpoint",
        checkpoint,
        words=(
            *('{"Data":{"PodDeviceEntries":[', '"ResourceName":', RESOURCE),
            *('"DeviceIDs":', '"AllocResp":', "[[", '{"-1":', "TEE_RAM_UNIT_BYTES"),
        ),
    ),
)
