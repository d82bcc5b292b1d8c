"""The DevicePlugin RPCs, answered from memory; the kubelet calls them through our socket.

Nothing here asks the TEE: a hung TEE must not stop the admission of pods. The list is sent as the
bytes that the poller left, each stream following the newest at its own pace.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import anyio.lowlevel
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.encoding.proto import ProtoCodec
from grpclib.server import Stream

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.grpc_server import send_encoded
from teeplugin.kubelet.protobuf_wire import fields
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.cdi import device as cdi_device
from teeplugin.policy.device_list import PublishedList, parse_device_id
from teeplugin.policy.variables import unit_variables
from teeplugin.primitives.latest import Latest
from teeplugin_backends.base import ContainerAccess, TeeError

_REFUSED_AS = {
    Status.UNAVAILABLE: "fault",
    Status.INVALID_ARGUMENT: "unknown_id",
    Status.INTERNAL: "backend_bug",
}
"""How Allocate calls are counted that end with these."""

ALLOCATION_RESULTS = ("ok", *_REFUSED_AS.values())

OPTIONS = v1beta1.DevicePluginOptions(
    pre_start_required=False,
    # The kubelet would send every free id at each admission, and any unit is as good as another.
    get_preferred_allocation_available=False,
)

MAX_PARSED_BYTES = 256
"""Of a request that becomes message objects: the kubelet's are empty. betterproto2 takes 0.25 s for
64 KiB of unknown fields, and minutes for 4 MiB."""

FIELDS_BETWEEN_PAUSES = 1_000
"""Of an AllocateRequest: about 2 ms of work, after which other tasks run."""

# protos/deviceplugin/v1beta1: the numbers of Allocate's fields.
_CONTAINER_REQUESTS, _DEVICES_IDS = 1, 1


class EncodedRequest(bytes):
    """An AllocateRequest as it came: it may name thousands of ids, and is read with pauses."""

    @classmethod
    def FromString(cls, data: bytes) -> "EncodedRequest":  # noqa: N802 - the name the codec calls
        """Keep the bytes as they are."""
        return cls(data)


class RequestCodec(ProtoCodec):
    """Turns a request that can't be parsed into a gRPC status instead of a logged traceback.

    `most_bytes` become message objects at most; `api` is what to send instead of others.
    """

    def __init__(
        self,
        most_bytes: int = MAX_PARSED_BYTES,
        api: str = "the kubelet's device plugin API v1beta1",
    ) -> None:
        self._most_bytes = most_bytes
        self._api = api

    def decode(self, data: bytes, message_type: Any) -> Any:
        """Parse one message.

        Raises:
            GRPCError: INVALID_ARGUMENT, the bytes are no such message; RESOURCE_EXHAUSTED, they are
                so many that the loop would stand still.
        """
        if message_type is not EncodedRequest and len(data) > self._most_bytes:
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"{message_type.__name__} of {len(data)} bytes: at most {self._most_bytes} are "
                "taken: call only what the options announce",
            )
        try:
            return super().decode(data, message_type)
        except Exception as error:  # noqa: BLE001 - betterproto2 raises many kinds on bad bytes
            raise GRPCError(
                Status.INVALID_ARGUMENT,
                f"{len(data)} bytes are no {message_type.__name__} ({type(error).__name__}): "
                f"send {self._api}",
            ) from None


class DevicePluginService(v1beta1.DevicePluginBase):
    """Answers for the units of one resource.

    `latest_list` holds None until the first reading; nothing is registered before, and `access`
    isn't asked. `watch_streams` is told of every ListAndWatch stream that opens and ends,
    `on_allocated` of the ids that each container is handed. `allocations` counts the Allocate
    calls by `ALLOCATION_RESULTS`. `access` raises nothing but TeeError. With `cdi` the answers have
    the name of a CDI device only, so that a runtime without CDI gives a container no TEE access.
    """

    def __init__(
        self,
        *,
        latest_list: Latest[PublishedList | None],
        watch_streams: WatchStreams,
        access: Callable[[], ContainerAccess],
        resource_name: str,
        unit_bytes: int,
        on_allocated: Callable[[Sequence[int]], None],
        cdi: bool = False,
    ) -> None:
        self._latest_list = latest_list
        self._watch_streams = watch_streams
        self._access = access
        self._resource_name = resource_name
        self._unit_bytes = unit_bytes
        self._on_allocated = on_allocated
        self._cdi = cdi
        self.allocations: Counter[str] = Counter()

    def __mapping__(self) -> dict[str, Handler]:
        """Put our own, which take or send encoded messages, in the generated ones' place."""
        return super().__mapping__() | {
            "/v1beta1.DevicePlugin/ListAndWatch": Handler(
                *(self._list_and_watch, Cardinality.UNARY_STREAM),
                *(v1beta1.Empty, v1beta1.ListAndWatchResponse),
            ),
            "/v1beta1.DevicePlugin/Allocate": Handler(
                self._allocate, Cardinality.UNARY_UNARY, EncodedRequest, v1beta1.AllocateResponse
            ),
        }

    async def get_device_plugin_options(
        self,
        message: v1beta1.Empty,  # noqa: ARG002 - the interface's signature
    ) -> v1beta1.DevicePluginOptions:
        """Say that neither preferences nor a call before the start are needed."""
        return OPTIONS

    async def _list_and_watch(
        self, stream: Stream[v1beta1.Empty, v1beta1.ListAndWatchResponse]
    ) -> None:
        await stream.recv_message()
        await stream.send_initial_metadata()
        sent = None
        with self._watch_streams.opened(stream.user_agent or "") as watch_stream:
            async for published_list in self._latest_list.follow():
                if published_list is not None and published_list.frame is not sent:
                    sent = published_list.frame
                    await send_encoded(sent)
                    watch_stream.sent(len(sent))

    async def _allocate(self, stream: Stream[EncodedRequest, v1beta1.AllocateResponse]) -> None:
        """Hand each container the way to the TEE and tell it how much memory its units are.

        Raises:
            GRPCError: INVALID_ARGUMENT for unlisted ids, UNAVAILABLE while a fault stands,
                INTERNAL for a bug of the backend's.
        """
        request = cast("EncodedRequest", await stream.recv_message())
        try:
            containers = await self._allocable(request)
            answer = v1beta1.AllocateResponse(
                container_responses=[self._container_response(len(ids)) for ids in containers]
            )
        except GRPCError as error:
            self.allocations[_REFUSED_AS[error.status]] += 1
            raise
        self.allocations["ok"] += 1
        for ids in containers:
            self._on_allocated(ids)
        await stream.send_message(answer)

    async def _allocable(self, data: bytes) -> list[list[int]]:
        published_list = self._listed()
        if published_list.fault is not None:
            raise GRPCError(Status.UNAVAILABLE, published_list.fault)
        return await _requested(data, published_list)

    def _listed(self) -> PublishedList:
        published_list = self._latest_list.value
        if published_list is None:
            raise GRPCError(
                Status.UNAVAILABLE, "the TEE has not answered yet, so no unit is listed: try later"
            )
        return published_list

    def _container_response(self, units: int) -> v1beta1.ContainerAllocateResponse:
        if not units:
            return v1beta1.ContainerAllocateResponse()
        if self._cdi:
            device = v1beta1.CdiDevice(name=cdi_device(units))
            return v1beta1.ContainerAllocateResponse(cdi_devices=[device])
        try:
            access = self._access()
        except TeeError as error:
            raise GRPCError(Status.INTERNAL, f"{error}: {error.fix}") from error
        return v1beta1.ContainerAllocateResponse(
            envs={
                **access.environment,
                **unit_variables(self._resource_name, units, self._unit_bytes),
            },
            mounts=[
                v1beta1.Mount(
                    container_path=mount.container_path,
                    host_path=mount.host_path,
                    read_only=mount.read_only,
                )
                for mount in access.mounts
            ],
            devices=[
                v1beta1.DeviceSpec(
                    container_path=device.container_path,
                    host_path=device.host_path,
                    permissions=device.permissions,
                )
                for device in access.devices
            ],
        )


def warm_up() -> None:
    """Encode an Allocate answer, so that the first one doesn't wait for what that imports."""
    answer = v1beta1.ContainerAllocateResponse(
        envs={"": ""}, mounts=[v1beta1.Mount()], devices=[v1beta1.DeviceSpec()]
    )
    bytes(v1beta1.AllocateResponse(container_responses=[answer]))


async def _requested(data: bytes, published_list: PublishedList) -> list[list[int]]:
    """Read an AllocateRequest: each container's ids, all of them listed, none twice.

    Raises:
        GRPCError: INVALID_ARGUMENT, it isn't one, or asks for what can't be allocated.
    """
    containers: list[dict[int, None]] = []
    try:
        for count, (container, text) in enumerate(_fields_asked(data), start=1):
            if container > len(containers):
                containers.append({})
            if text is not None:
                _take_id(text, published_list, containers[-1])
            if not count % FIELDS_BETWEEN_PAUSES:
                await anyio.lowlevel.checkpoint()
    except ValueError as error:
        raise GRPCError(
            Status.INVALID_ARGUMENT,
            f"{len(data)} bytes are no AllocateRequest ({error}): "
            "send the kubelet's device plugin API v1beta1",
        ) from None
    return [list(ids) for ids in containers]


def _fields_asked(data: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Give each field of an AllocateRequest: how many containers there are so far, and its id."""
    containers = 0
    for number, start, end in fields(data, 0, len(data)):
        is_container = number == _CONTAINER_REQUESTS
        containers += is_container
        yield containers, None
        for inner, begin, until in fields(data, start, end) if is_container else ():
            yield containers, data[begin:until] if inner == _DEVICES_IDS else None


def _take_id(text: bytes, published_list: PublishedList, ids: dict[int, None]) -> None:
    device_id = parse_device_id(text)
    listed = published_list.device_list.ids
    if device_id is None or device_id not in listed:
        shown = repr(text.decode(errors="replace"))[:40]
        raise GRPCError(
            Status.INVALID_ARGUMENT,
            f"device {shown} is not listed: there are {len(listed)} units, ids below {listed.end}: "
            "watch the list and ask for one of them",
        )
    if device_id in ids:
        raise GRPCError(
            Status.INVALID_ARGUMENT, f"device {device_id} is requested twice: request it once"
        )
    ids[device_id] = None
