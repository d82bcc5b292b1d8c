"""A device plugin of a few lines, for tests of the simulated kubelet."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from grpclib.client import Channel

from teeplugin.api.deviceplugin import v1beta1 as api
from teeplugin.simulator import EventKind, SimulatedKubelet
from teeplugin.simulator.sockets import UnixServer
from teeplugin.simulator.wire import RawDeviceList

RESOURCE = "huawei.com/tee-ram"


def frame(healthy: range, unhealthy: range = range(0), word: str = "Unhealthy") -> bytes:
    rows = [*(f"{i}=Healthy" for i in healthy), *(f"{i}={word}" for i in unhealthy)]
    out = bytearray()
    for name, health in (row.split("=") for row in rows):
        row = b"\x0a%c%s\x12%c%s" % (len(name), name.encode(), len(health), health.encode())
        out += b"\x0a%c%s" % (len(row), row)
    return bytes(out)


class Plugin(api.DevicePluginBase):
    """A device plugin of a few lines: it lists what it is told to, and hands out an environment."""

    def __init__(self, kubelet: SimulatedKubelet, endpoint: str = "p.sock") -> None:
        self.kubelet, self.endpoint = kubelet, endpoint
        self.lists: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.options: api.DevicePluginOptions | None = api.DevicePluginOptions()
        self.on_allocate: Callable[[], Awaitable[None]] | None = None
        self.calls: list[str] = []

    async def get_device_plugin_options(self, message: api.Empty) -> api.DevicePluginOptions:
        self.calls.append("options")
        if self.options is None:
            return await super().get_device_plugin_options(message)
        return self.options

    async def list_and_watch(self, message: api.Empty) -> AsyncIterator[RawDeviceList]:  # type: ignore[override]  # ready bytes
        del message
        while (data := await self.lists.get()) is not None:
            yield RawDeviceList(data)

    async def allocate(self, message: api.AllocateRequest) -> api.AllocateResponse:
        self.calls.append(f"allocate {len(message.container_requests)}")
        if self.on_allocate:
            await self.on_allocate()
        ids = message.container_requests[0].devices_i_ds
        answer = api.ContainerAllocateResponse(
            envs={"IDS": ",".join(ids)}, mounts=[api.Mount("/c", "/h", read_only=True)]
        )
        return api.AllocateResponse([answer])

    async def pre_start_container(
        self, message: api.PreStartContainerRequest
    ) -> api.PreStartContainerResponse:
        self.calls.append(f"pre-start {len(message.devices_i_ds)}")
        return api.PreStartContainerResponse()

    async def get_preferred_allocation(
        self, message: api.PreferredAllocationRequest
    ) -> api.PreferredAllocationResponse:
        request = message.container_requests[0]
        lowest = sorted(request.available_deviceIDs, key=int)[: request.allocation_size]
        return api.PreferredAllocationResponse([api.ContainerPreferredAllocationResponse(lowest)])

    def __mapping__(self) -> dict:  # type: ignore[type-arg]
        mapping = super().__mapping__()
        path = "/v1beta1.DevicePlugin/ListAndWatch"
        mapping[path] = mapping[path]._replace(reply_type=RawDeviceList)
        return mapping

    async def register(self, data: bytes = b"", /, **overrides: str) -> None:
        if data:
            self.lists.put_nowait(data)
        fields = {"version": "v1beta1", "endpoint": self.endpoint, "resource_name": RESOURCE}
        request = api.RegisterRequest(**(fields | overrides), options=self.options)
        async with Channel(path=str(self.kubelet.socket)) as channel:
            await api.RegistrationStub(channel).register(request)

    async def listed(self, data: bytes) -> None:
        before = self.kubelet.log.count(EventKind.LIST_RECEIVED)
        self.lists.put_nowait(data)
        await self.kubelet.wait_for(
            lambda: self.kubelet.log.count(EventKind.LIST_RECEIVED) > before, 10
        )


@asynccontextmanager
async def serving(kubelet: SimulatedKubelet, endpoint: str = "p.sock") -> AsyncIterator[Plugin]:
    plugin = Plugin(kubelet, endpoint)
    server = UnixServer([plugin])
    await server.bind(kubelet.device_plugins_dir / endpoint)
    try:
        yield plugin
    finally:
        await server.end(abruptly=True)
