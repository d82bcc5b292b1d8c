"""A server that ends owns every connection that it accepted, in whatever turn of the loop."""

import asyncio
import gc
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from grpclib.encoding.proto import ProtoCodec

from teeplugin.api.deviceplugin import v1beta1 as api
from teeplugin.kubelet.grpc_server import GrpcServer
from teeplugin.simulator.sockets import UnixServer
from teeplugin.telemetry.http_server import HttpServer

pytestmark = pytest.mark.anyio

End = Callable[[], Awaitable[None]]


async def _simulators(path: Path) -> End:
    server = UnixServer([api.RegistrationBase()])
    await server.bind(path)
    return lambda: server.end(abruptly=True)


async def _plugins(path: Path) -> End:
    server = GrpcServer(api.DevicePluginBase(), ProtoCodec())
    await server.serve(_listener(path))
    return server.end


async def _telemetry(path: Path) -> End:
    serving = asyncio.create_task(HttpServer({}).serve([_listener(path)]))
    await asyncio.sleep(0)

    async def end() -> None:
        serving.cancel()
        await asyncio.wait([serving])

    return end


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("start", [_simulators, _plugins, _telemetry])
async def test_a_client_of_the_last_moment_is_closed_by_the_server(
    start: Callable[[Path], Awaitable[End]], turns: int, kubelet_dir: Path
) -> None:
    path = kubelet_dir / "socket"
    end = await start(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        for _ in range(3):
            await asyncio.sleep(0)
        client.connect(str(path))
        for _ in range(turns):
            await asyncio.sleep(0)
        await end()
        for _ in range(6):
            await asyncio.sleep(0)
        # Warns of a socket that nobody owns, which is an error here.
        gc.collect()
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
