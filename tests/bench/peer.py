"""A kubelet as the plugin meets it, made of grpcio: dials during Register, follows the list."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

import grpc
import grpc.aio

from teeplugin.api.deviceplugin import v1beta1
from tests.bench.errors import BenchError

LIMIT = [("grpc.max_receive_message_length", 4_194_304)]
WAIT_SECONDS = 20.0

_SERVICE = "/v1beta1.DevicePlugin"


class List(NamedTuple):
    """A list as it came: when, and its bytes."""

    received: float
    frame: bytes

    @property
    def healthy(self) -> int:
        return self.frame.count(b"Healthy")


class Plugin:
    """The kubelet's one connection to a plugin that registers: options, the list, Allocate."""

    def __init__(self, path: Path) -> None:
        self.began = monotonic()
        self.answered = 0.0
        self.lists: asyncio.Queue[List | BenchError] = asyncio.Queue()
        self._channel = grpc.aio.insecure_channel(f"unix:{path}", options=LIMIT)
        self._allocate = self._channel.unary_unary(f"{_SERVICE}/Allocate")
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._channel.unary_unary(f"{_SERVICE}/GetDevicePluginOptions")(b"")
        self._watcher = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        await self._channel.close()

    async def _watch(self) -> None:
        call = self._channel.unary_stream(f"{_SERVICE}/ListAndWatch")(b"")
        try:
            async for frame in call:
                self.lists.put_nowait(List(monotonic(), frame))
        except grpc.aio.AioRpcError as error:
            self.lists.put_nowait(BenchError(f"the list broke off: {error.details()}"))
        else:
            self.lists.put_nowait(BenchError("the plugin ended the list"))

    async def list_of(self, healthy: int) -> List:
        """Wait for a list with so many healthy devices."""
        seen = "none"
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    received = await self.lists.get()
                    if isinstance(received, BenchError):
                        raise received
                    if received.healthy == healthy:
                        return received
                    seen = str(received.healthy)
        except TimeoutError:
            raise BenchError(
                f"no list of {healthy} healthy devices came within {WAIT_SECONDS:g} s; "
                f"the last one had {seen}"
            ) from None

    async def allocate(self, request: bytes) -> bytes:
        answer: bytes = await self._allocate(request, timeout=WAIT_SECONDS)
        return answer


class Kubelet:
    """Serves Registration in its `directory` while it is entered, and can stop and start again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._directory = directory / "device-plugins"
        self._directory.mkdir(exist_ok=True)
        self._server: grpc.aio.Server | None = None
        self._plugin: Plugin | None = None
        self._registered: asyncio.Queue[Plugin | BenchError] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> float:
        """Remove every socket, as the kubelet does, and listen; just before dials are accepted."""
        for leftover in self._directory.glob("*.sock"):
            leftover.unlink()
        handlers = {"Register": grpc.unary_unary_rpc_method_handler(self._register)}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("v1beta1.Registration", handlers),)
        )
        began = monotonic()
        server.add_insecure_port(f"unix:{self._directory / 'kubelet.sock'}")
        await server.start()
        self._server = server
        return began

    async def stop(self) -> None:
        """Drop the plugin, stop serving and remove the socket."""
        plugin, self._plugin = self._plugin, None
        server, self._server = self._server, None
        if plugin is not None:
            await plugin.__aexit__()
        if server is not None:
            await server.stop(None)
        (self._directory / "kubelet.sock").unlink(missing_ok=True)

    async def _register(self, data: bytes, _context: object) -> bytes:
        try:
            path = self._directory / v1beta1.RegisterRequest.parse(data).endpoint
            plugin, old = Plugin(path), self._plugin
            if old is not None:
                await old.__aexit__()
            self._plugin = plugin
            await plugin.__aenter__()
        except Exception as error:
            self._registered.put_nowait(BenchError(f"Register failed: {error!r}"))
            raise
        plugin.answered = monotonic()
        self._registered.put_nowait(plugin)
        return b""

    async def registered(self) -> Plugin:
        """Wait for the next plugin that registers."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                plugin = await self._registered.get()
        except TimeoutError:
            raise BenchError(f"no plugin registered within {WAIT_SECONDS:g} s") from None
        if isinstance(plugin, BenchError):
            raise plugin
        return plugin

    @property
    def plugin_sockets(self) -> list[Path]:
        return sorted(self._directory.glob("tee-ram-*.sock"))


async def watch_once(path: Path) -> int:
    """Be one more client: take one list over a connection of its own and leave; its bytes."""
    async with grpc.aio.insecure_channel(f"unix:{path}", options=LIMIT) as channel:
        call = channel.unary_stream(f"{_SERVICE}/ListAndWatch")(b"")
        frames: AsyncIterator[bytes] = aiter(call)
        frame = await anext(frames)
        call.cancel()
        return len(frame)
