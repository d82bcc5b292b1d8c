"""The parts of DRA mode, made and connected; the daemon's only way in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from teeplugin.dra.api_client import ApiClient, ApiError
from teeplugin.dra.driver import ClaimUnreadableError, DraDriver
from teeplugin.dra.health import HealthService
from teeplugin.dra.holders import ClaimHolders
from teeplugin.dra.publisher import Publisher
from teeplugin.dra.registration import DraRegistration
from teeplugin.dra.resources import Offer, Traits
from teeplugin.policy.decide import Cause
from teeplugin.policy.device_list import IdSet
from teeplugin.primitives.latest import Latest
from teeplugin.primitives.signal import Signal

CLOSE_SECONDS = 0.5
"""For the connections to the API server."""


class DraParts:
    """What runs in DRA mode beside the poller.

    `offer` gives what is offered now, and `decided` is set when that may be new. `on_prepared` gets
    the ids of a claim that is prepared.
    """

    def __init__(
        self,
        *,
        kubelet_dir: Path,
        node_name: str,
        unit_bytes: int,
        fault_effect: str,
        traits: Callable[[], Traits],
        holders: ClaimHolders,
        offer: Callable[[], Offer | None],
        decided: Signal,
        on_prepared: Callable[[IdSet], None],
    ) -> None:
        self._offer = offer
        self._decided = decided
        self._latest_cause: Latest[Cause | None] = Latest(None)
        self._api = ApiClient()
        self.publisher = Publisher(
            api=self._api,
            node_name=node_name,
            traits=traits,
            fault_effect=fault_effect,
            is_registered=lambda: self.registration.status.not_registered_reason is None,
        )
        self.driver = DraDriver(
            pool=node_name,
            unit_bytes=unit_bytes,
            read_claim=self._read_claim,
            holders=holders,
            problem=lambda: self.publisher.node_problem,
            fault=self._fault,
            on_prepared=on_prepared,
        )
        self.registration = DraRegistration(
            kubelet_dir=kubelet_dir,
            driver=self.driver,
            health=HealthService(self._latest_cause, node_name),
            on_registered=self.publisher.look,
        )

    async def run(self) -> None:
        """Publish what the poller decides, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.publisher.run)
            seen = -1
            while True:
                seen = await self._decided.after(seen)
                offer = self._offer()
                cause = offer.cause if offer else None
                if cause != self._latest_cause.value:
                    self._latest_cause.set(cause)
                self.publisher.want(offer)

    async def close(self) -> None:
        """Close the connections to the API server; the slice stays for a successor."""
        with anyio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._api.close()

    def _fault(self) -> str | None:
        cause = self._latest_cause.value
        return f"the TEE has a fault: {cause.message}: {cause.fix}" if cause else None

    async def _read_claim(self, namespace: str, name: str) -> Mapping[str, Any]:
        try:
            return await self._api.claim(namespace, name)
        except ApiError as error:
            raise ClaimUnreadableError(f"{error}: {error.fix}") from error
