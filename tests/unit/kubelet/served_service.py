"""The service behind a real socket, on a backend whose access a test sets."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
import grpc.aio
import pytest

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.device_list import DeviceList, DeviceListEncoder, IdSet, PublishedList
from teeplugin.primitives.latest import Latest
from teeplugin.tee.guard import read_access
from teeplugin_backends.base import ContainerAccess, Device, Mount, TeeBackend, TeeMemory

ACCESS = ContainerAccess(
    mounts=(Mount("/var/itrustee/teecd", "/var/itrustee/teecd", read_only=True),),
    devices=(Device("/dev/teelog", "/dev/teelog", "rw"),),
    environment={"TEE": "itrustee"},
)
UNIT_BYTES = 512 * 1024
RESOURCE = "huawei.com/tee-ram"
LIMIT = [("grpc.max_receive_message_length", 4_194_304)]


class Tee(TeeBackend):
    """Gives as access what it was told to, or raises it."""

    given: object = ACCESS

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> "Tee":
        raise AssertionError(options)

    async def memory(self) -> TeeMemory:
        raise AssertionError

    def access(self) -> ContainerAccess:
        if isinstance(self.given, BaseException):
            raise self.given
        return self.given  # type: ignore[return-value]  # that is a bug of a backend's


class Served:
    """A service behind a real socket, whose list the test sets."""

    def __init__(self, kubelet_dir: Path) -> None:
        self.latest_list: Latest[PublishedList | None] = Latest(None)
        self.watch_streams = WatchStreams()
        self.encoder = DeviceListEncoder()
        self.allocated: list[Sequence[int]] = []
        self.tee = Tee()
        self.service = DevicePluginService(
            latest_list=self.latest_list,
            watch_streams=self.watch_streams,
            access=partial(read_access, self.tee),
            resource_name=RESOURCE,
            unit_bytes=UNIT_BYTES,
            on_allocated=self.allocated.append,
        )
        self.endpoint = Endpoint(
            directory=kubelet_dir / "device-plugins",
            service=self.service,
            watch_streams=self.watch_streams,
        )

    def list_units(self, count: int, unhealthy: IdSet | None = None, fault: str = "") -> None:
        device_list = DeviceList(IdSet.first(count), unhealthy or IdSet())
        frame = self.encoder.encode(device_list)
        self.latest_list.set(PublishedList(device_list, frame, fault or None))

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        async with grpc.aio.insecure_channel(f"unix:{self.endpoint.path}", options=LIMIT) as one:
            yield one

    async def call(self, method: str, request: bytes) -> bytes:
        async with self.channel() as channel:
            answer: bytes = await channel.unary_unary(f"/v1beta1.DevicePlugin/{method}")(request)
            return answer

    async def status(self, method: str, request: bytes) -> grpc.StatusCode:
        async with self.channel() as channel:
            code: grpc.StatusCode = await channel.unary_unary(f"/v1beta1.DevicePlugin/{method}")(
                request
            ).code()
            return code

    async def refusal(self, method: str, request: bytes) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(method, request)
        return caught.value


@pytest.fixture(name="served")
async def made_served(kubelet_dir: Path) -> AsyncIterator[Served]:
    served = Served(kubelet_dir)
    await served.endpoint.open()
    yield served
    await served.endpoint.close()


def watch(channel: grpc.aio.Channel) -> AsyncIterator[bytes]:
    call = channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch")(b"")
    return aiter(call)


def healthy(frame: bytes) -> set[str]:
    devices = v1beta1.ListAndWatchResponse.parse(frame).devices
    return {device.id for device in devices if device.health == "Healthy"}


def allocate_request(*containers: list[str]) -> bytes:
    return bytes(
        v1beta1.AllocateRequest(
            container_requests=[
                v1beta1.ContainerAllocateRequest(devices_i_ds=ids) for ids in containers
            ]
        )
    )
