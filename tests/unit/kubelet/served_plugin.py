"""The plugin's socket with a good client on it, and how others misbehave there."""

import asyncio
from typing import TypeVar

from grpclib.client import Channel
from hyperframe.frame import Frame, SettingsFrame

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.grpc_server import GrpcServer
from tests.http2_wire import Wire, connected
from tests.in_process import Registered
from tests.waiting import eventually

UNITS = 128
CUT_SECONDS = 5

F = TypeVar("F", bound=Frame)

SMALL_WINDOW = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}).serialize()


class Plugin:
    """The plugin's socket, and a well-behaved client on it that watches the list."""

    def __init__(self, parts: Registered, channel: Channel) -> None:
        self.parts = parts
        self.path = parts.endpoint.path
        self._stub = v1beta1.DevicePluginStub(channel)
        self.lists = self._stub.list_and_watch(v1beta1.Empty())

    @property
    def server(self) -> GrpcServer:
        assert self.parts.endpoint._socket.server is not None
        return self.parts.endpoint._socket.server

    @property
    def calls(self) -> int:
        """How many calls are under way, the good client's stream among them."""
        return sum(len(client.calls) for client in self.server.clients)

    async def allocate(self) -> None:
        container = v1beta1.ContainerAllocateRequest(devices_i_ds=["0"])
        await self._stub.allocate(v1beta1.AllocateRequest(container_requests=[container]))

    async def serves_the_good_client(self) -> None:
        """Its calls are answered, and its stream, still the first, brings lists."""
        async with asyncio.timeout(10):
            for units in (UNITS - 1, UNITS):
                self.parts.list_units(units)
                while len((await anext(self.lists)).devices) != units:
                    pass
            await self.allocate()

    async def has_only_the_good_client(self) -> None:
        await eventually("one connection", lambda: len(self.server.clients), until=(1).__eq__)


async def sent(plugin: Plugin, content: bytes) -> Wire:
    """Send this, and read until the plugin closes the connection."""
    async with asyncio.timeout(CUT_SECONDS), connected(plugin.path) as client:
        await client.send(content)
        await client.until_closed()
        return client


async def answered(client: Wire, kind: type[F]) -> F:
    """Read until a frame of this kind comes; of a call that failed, HEADERS are its trailers."""
    while not (found := [frame for frame in client.frames() if isinstance(frame, kind)]):
        assert not client.ended, f"closed without {kind.__name__}"
        await client.read()
    return found[0]
