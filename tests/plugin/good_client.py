"""The plugin's socket with a good client on it, the kubelet's cousin, and others who aren't."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import pytest
from grpclib.client import Channel
from hyperframe.frame import Frame

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.connections import server
from teeplugin.connections.server import ConnectionServer
from tests.hostile.wire import Wire, connected
from tests.in_process import Registered
from tests.waiting import eventually

UNITS = 128
CUT_SECONDS = 5

F = TypeVar("F", bound=Frame)


class Socket:
    """The plugin's socket, and a good client on it, who watches the list."""

    def __init__(self, parts: Registered, channel: Channel) -> None:
        self.parts = parts
        self.path = parts.endpoint.path
        self._stub = v1beta1.DevicePluginStub(channel)
        self.lists = self._stub.list_and_watch(v1beta1.Empty())

    @property
    def server(self) -> ConnectionServer:
        assert self.parts.endpoint._server is not None
        return self.parts.endpoint._server

    async def is_well(self) -> None:
        """The good client's calls are answered, and its stream, still the first, brings lists."""
        async with asyncio.timeout(10):
            for units in (UNITS - 1, UNITS):
                self.parts.list_units(units)
                while len((await anext(self.lists)).devices) != units:
                    pass
            await self.allocate(1)

    async def allocate(self, units: int) -> None:
        """Ask for so many units, for one container."""
        ids = [str(number) for number in range(units)]
        container = v1beta1.ContainerAllocateRequest(devices_i_ds=ids)
        await self._stub.allocate(v1beta1.AllocateRequest(container_requests=[container]))

    @property
    def sending(self) -> int:
        """How many messages are on their way to clients who don't take them."""
        return sum(connection.calls.sending for connection in self.server._connections)

    async def only_the_good_one_is_left(self) -> None:
        await eventually(
            "one connection", lambda: len(self.server._transports), until=lambda count: count == 1
        )
        assert self.server.held.total_bytes == 0


@pytest.fixture
async def plugin(kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Socket]:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)
    parts = Registered(kubelet_dir / "device-plugins", UNITS)
    await parts.endpoint.open()
    try:
        async with Channel(path=str(parts.endpoint.path)) as channel:
            one = Socket(parts, channel)
            await anext(one.lists)
            yield one
            await one.lists.aclose()  # type: ignore[attr-defined]  # an async generator
    finally:
        await parts.endpoint.close()


async def sent(plugin: Socket, content: bytes) -> Wire:
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
