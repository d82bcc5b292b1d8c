"""The health of the node's device, for the pods' status: a DRA driver's second service.

It informs people only. The scheduler follows the slice's taints and capacity.
"""

import time
from functools import partial
from typing import Final

import anyio
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from teeplugin.api.drahealth import v1alpha1
from teeplugin.dra.resources import DEVICE
from teeplugin.policy.decide import Cause
from teeplugin.primitives.latest import Latest
from teeplugin.primitives.waiting import first_of

TIMEOUT_SECONDS: Final = 30
"""Without another message the kubelet takes the device's health for unknown after so long."""

REPEAT_SECONDS: Final = 10.0

LONGEST_MESSAGE: Final = 1024
"""Characters; the kubelet cuts what is longer."""

_METHODS: Final = (
    "/v1.DRAResourceHealth/NodeWatchResources",
    "/v1alpha1.DRAResourceHealth/NodeWatchResources",
)
"""Kubelets from 1.37 on call the first, older ones the second; the messages are the same."""


class HealthService:
    """Sends the device's health on each change of `latest_cause`, and from time to time."""

    def __init__(self, latest_cause: Latest[Cause | None], pool: str) -> None:
        self._latest_cause = latest_cause
        self._pool = pool
        self._ended = anyio.Event()

    def end(self) -> None:
        """End the streams, as at the plugin's end."""
        self._ended.set()

    def __mapping__(self) -> dict[str, Handler]:
        """Serve both versions."""
        handler = Handler(
            *(self._watch, Cardinality.UNARY_STREAM),
            *(v1alpha1.NodeWatchResourcesRequest, v1alpha1.NodeWatchResourcesResponse),
        )
        return dict.fromkeys(_METHODS, handler)

    async def _watch(
        self,
        stream: Stream[v1alpha1.NodeWatchResourcesRequest, v1alpha1.NodeWatchResourcesResponse],
    ) -> None:
        await stream.recv_message()
        while not self._ended.is_set():
            cause = self._latest_cause.value
            await stream.send_message(self._answer(cause))
            await first_of(REPEAT_SECONDS, partial(self._another, cause), self._ended.wait)

    async def _another(self, cause: Cause | None) -> None:
        async for latest in self._latest_cause.follow():
            if latest != cause:
                return

    def _answer(self, cause: Cause | None) -> v1alpha1.NodeWatchResourcesResponse:
        message = f"{cause.message}: {cause.fix}" if cause else ""
        health = v1alpha1.HealthStatus.UNHEALTHY if cause else v1alpha1.HealthStatus.HEALTHY
        device = v1alpha1.DeviceHealth(
            device=v1alpha1.DeviceIdentifier(pool_name=self._pool, device_name=DEVICE),
            health=health,
            last_updated_time=int(time.time()),
            health_check_timeout_seconds=TIMEOUT_SECONDS,
            message=message[:LONGEST_MESSAGE],
        )
        return v1alpha1.NodeWatchResourcesResponse(devices=[device])
