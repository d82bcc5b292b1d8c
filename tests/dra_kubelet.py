"""A kubelet's side of DRA, for tests: finds drivers by their sockets and calls the newest."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import grpc
import grpc.aio

from teeplugin.api.dra.k8s.io.kubelet.pkg.apis.dra import v1
from teeplugin.api.drahealth import v1alpha1
from teeplugin.api.pluginregistration import pluginregistration
from teeplugin.dra.claims import ClaimRef
from teeplugin.dra.registration import registry_directory

_POLL_SECONDS = 0.01
_CALL_SECONDS = 5


class DraKubelet:
    """Watches `plugins_registry` as the kubelet does; `refuses` is what it answers drivers with."""

    def __init__(self, kubelet_dir: Path) -> None:
        self._registry = registry_directory(kubelet_dir)
        self._registry.mkdir(parents=True, exist_ok=True)
        self.refuses = ""
        self.infos: dict[Path, pluginregistration.PluginInfo] = {}
        self._channels: dict[Path, grpc.aio.Channel] = {}

    async def run(self) -> None:
        """Register the drivers whose sockets come, and drop those whose sockets go."""
        while True:
            there = set(self._registry.glob("*.sock"))
            for path in self._channels.keys() - there:
                await self._channels.pop(path).close()
                self.infos.pop(path)
            for path in there - self._channels.keys():
                try:
                    await self._register(path)
                except grpc.aio.AioRpcError:
                    continue  # a dead one's, or one that isn't listening yet
            await anyio.sleep(_POLL_SECONDS)

    async def _register(self, path: Path) -> None:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            info = await _called(
                channel,
                "/pluginregistration.Registration/GetInfo",
                pluginregistration.InfoRequest(),
                pluginregistration.PluginInfo,
            )
            endpoint = grpc.aio.insecure_channel(f"unix:{info.endpoint}")
            await endpoint.channel_ready()
            status = pluginregistration.RegistrationStatus(
                plugin_registered=not self.refuses, error=self.refuses
            )
            answer = pluginregistration.RegistrationStatusResponse
            method = "/pluginregistration.Registration/NotifyRegistrationStatus"
            await _called(channel, method, status, answer)
        self._channels[path], self.infos[path] = endpoint, info

    async def prepare(self, *claims: ClaimRef) -> dict[str, v1.NodePrepareResourceResponse]:
        """Have claims prepared."""
        request = v1.NodePrepareResourcesRequest(claims=_claims(claims))
        answer = v1.NodePrepareResourcesResponse
        return dict((await self._call("NodePrepareResources", request, answer)).claims)

    async def unprepare(self, *claims: ClaimRef) -> dict[str, v1.NodeUnprepareResourceResponse]:
        """Have claims unprepared."""
        request = v1.NodeUnprepareResourcesRequest(claims=_claims(claims))
        answer = v1.NodeUnprepareResourcesResponse
        return dict((await self._call("NodeUnprepareResources", request, answer)).claims)

    async def health(self, version: str) -> AsyncIterator[v1alpha1.DeviceHealth]:
        """Watch the health of the driver's one device."""
        method = self._newest().unary_stream(
            f"/{version}.DRAResourceHealth/NodeWatchResources",
            request_serializer=bytes,
            response_deserializer=v1alpha1.NodeWatchResourcesResponse.parse,
        )
        async for answer in method(v1alpha1.NodeWatchResourcesRequest()):
            (device,) = answer.devices
            yield device

    async def _call(self, name: str, request: Any, answer: Any) -> Any:
        method = f"/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/{name}"
        return await _called(self._newest(), method, request, answer)

    def _newest(self) -> grpc.aio.Channel:
        return list(self._channels.values())[-1]

    async def close(self) -> None:
        """Forget all drivers, as a kubelet that ends."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        self.infos.clear()


async def _called(channel: grpc.aio.Channel, method: str, request: Any, answer: Any) -> Any:
    call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=answer.parse)
    return await call(request, timeout=_CALL_SECONDS)


def _claims(claims: tuple[ClaimRef, ...]) -> list[v1.Claim]:
    return [v1.Claim(namespace=each.namespace, name=each.name, uid=each.uid) for each in claims]


@asynccontextmanager
async def dra_kubelet(kubelet_dir: Path) -> AsyncIterator[DraKubelet]:
    """A kubelet that runs while this is entered."""
    kubelet = DraKubelet(kubelet_dir)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kubelet.run)
        try:
            yield kubelet
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await kubelet.close()
