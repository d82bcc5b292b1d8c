"""Endpoint and registration in the test's own process, where a test can reach into them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from hyperframe.frame import GoAwayFrame

from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.registration import Registration
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.device_list import DeviceList, DeviceListEncoder, IdSet, PublishedList
from teeplugin.primitives.latest import Latest
from teeplugin_backends.base import ContainerAccess


class Registered:
    """A registration under way in a directory, with a list that the test sets."""

    def __init__(self, directory: Path, units: int) -> None:
        self.latest_list: Latest[PublishedList | None] = Latest(None)
        self.list_units(units)
        self.streams = WatchStreams()
        service = DevicePluginService(
            latest_list=self.latest_list,
            watch_streams=self.streams,
            access=ContainerAccess,
            resource_name="huawei.com/tee-ram",
            unit_bytes=524288,
            on_allocated=lambda _: None,
        )
        self.endpoint = Endpoint(directory=directory, service=service, watch_streams=self.streams)
        self.registration = Registration(
            directory=directory,
            resource_name="huawei.com/tee-ram",
            endpoint=self.endpoint,
            watch_streams=self.streams,
        )

    def list_units(self, units: int) -> None:
        device_list = DeviceList(IdSet.first(units))
        self.latest_list.set(PublishedList(device_list, DeviceListEncoder().encode(device_list)))

    def send_goaway(self) -> None:
        """Ask every client to make its next calls on a new connection; streams go on."""
        server = self.endpoint._socket.server
        assert server is not None
        for client in server.clients:
            client.transport.write(GoAwayFrame(stream_id=0, last_stream_id=2**31 - 1).serialize())


@asynccontextmanager
async def registering(directory: Path, units: int = 3) -> AsyncIterator[Registered]:
    under_way = Registered(directory, units)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(under_way.registration.run)
            yield under_way
            tasks.cancel_scope.cancel()
    finally:
        await under_way.endpoint.close()
