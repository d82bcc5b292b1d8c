"""One plugin's part of DRA, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from teeplugin.dra.driver import DraDriver
from teeplugin.dra.health import HealthService
from teeplugin.dra.holders import ClaimHolders
from teeplugin.dra.registration import DraRegistration
from teeplugin.policy.decide import Cause
from teeplugin.policy.device_list import IdSet
from teeplugin.primitives.latest import Latest
from tests.dra_claims import POOL
from tests.dra_kubelet import DraKubelet
from tests.waiting import eventually

UNIT = 512 * 1024


class Instance:
    """One plugin's part of DRA, with claims that the test sets instead of an API server."""

    def __init__(self, kubelet_dir: Path) -> None:
        self.claims: dict[str, dict[str, Any] | Exception] = {}
        self.reads: list[str] = []
        self.cause: Latest[Cause | None] = Latest(None)
        self.problem: str | None = None
        self.allocated: list[IdSet] = []
        self.registrations = 0
        self.driver = DraDriver(
            pool=POOL,
            unit_bytes=UNIT,
            read_claim=self._read_claim,
            holders=ClaimHolders(),
            problem=lambda: self.problem,
            fault=lambda: self.cause.value and self.cause.value.message,
            on_prepared=self.allocated.append,
        )
        self.registration = DraRegistration(
            kubelet_dir=kubelet_dir,
            driver=self.driver,
            health=HealthService(self.cause, POOL),
            on_registered=self._registered,
        )

    async def _read_claim(self, namespace: str, name: str) -> dict[str, Any]:
        self.reads.append(f"{namespace}/{name}")
        found = self.claims[name]
        if isinstance(found, Exception):
            raise found
        return found

    def _registered(self) -> None:
        self.registrations += 1


@asynccontextmanager
async def running(kubelet_dir: Path) -> AsyncIterator[Instance]:
    instance = Instance(kubelet_dir)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(instance.registration.run)
        try:
            yield instance
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await instance.registration.close()


async def registered(kubelet: DraKubelet, count: int = 1) -> None:
    await eventually("the driver is registered", lambda: len(kubelet.infos), until=count.__eq__)
