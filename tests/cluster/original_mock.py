"""Stands in for the original plugin: its socket's name, its decimal ids, its answers.

Run as `python original_mock.py KUBELET_DIR UNITS [FREE_UNITS]`; it registers once and serves
until killed. FREE_UNITS is how many units' memory its TEE has free all the while, by default all.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from grpclib import GRPCError, Status
from grpclib.client import Channel
from grpclib.server import Server

from teeplugin.api.deviceplugin import v1beta1

RESOURCE = "huawei.com/tee-ram"
SOCKET = "tee-ram.sock"


class Original(v1beta1.DevicePluginBase):
    """Lists its units once, all healthy, and hands out what iTrustee's containers need.

    Like the original it never shows a shortage: it refuses what is larger than the free memory.
    """

    def __init__(self, units: int, free_units: int) -> None:
        self._units = units
        self._free_units = free_units

    async def get_device_plugin_options(
        self, message: v1beta1.Empty
    ) -> v1beta1.DevicePluginOptions:
        del message
        return v1beta1.DevicePluginOptions()

    async def list_and_watch(
        self, message: v1beta1.Empty
    ) -> AsyncIterator[v1beta1.ListAndWatchResponse]:
        del message
        devices = [v1beta1.Device(id=str(unit), health="Healthy") for unit in range(self._units)]
        yield v1beta1.ListAndWatchResponse(devices=devices)
        await asyncio.Event().wait()

    async def allocate(self, message: v1beta1.AllocateRequest) -> v1beta1.AllocateResponse:
        asked = sum(len(request.devices_i_ds) for request in message.container_requests)
        if asked > self._free_units:
            raise GRPCError(
                Status.UNKNOWN, f"{asked} units asked for, memory for {self._free_units} is free"
            )
        return v1beta1.AllocateResponse(
            container_responses=[
                v1beta1.ContainerAllocateResponse(
                    devices=[
                        v1beta1.DeviceSpec(
                            container_path="/dev/teelog",
                            host_path="/dev/teelog",
                            permissions="rw",
                        )
                    ]
                )
                for _ in message.container_requests
            ]
        )


async def main(kubelet_dir: Path, units: int, free_units: int) -> None:
    directory = kubelet_dir / "device-plugins"
    (directory / SOCKET).unlink(missing_ok=True)
    server = Server([Original(units, free_units)])
    await server.start(path=str(directory / SOCKET))
    async with Channel(path=str(directory / "kubelet.sock")) as channel:
        await v1beta1.RegistrationStub(channel).register(
            v1beta1.RegisterRequest(version="v1beta1", endpoint=SOCKET, resource_name=RESOURCE)
        )
    await server.wait_closed()


if __name__ == "__main__":
    listed = int(sys.argv[2])
    asyncio.run(main(Path(sys.argv[1]), listed, int(sys.argv[3]) if sys.argv[3:] else listed))
