"""A poller whose TEE answers what a test puts in."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.lowlevel

from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.policy.decide import PolicySettings
from teeplugin.policy.device_list import DeviceList, IdSet, PublishedList
from teeplugin.primitives.latest import Latest
from teeplugin.tee.poller import TeePoller
from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    TeeBackend,
    TeeMemory,
)

UNIT = 512 * 1024
GOOD = TeeMemory(total_bytes=8 * UNIT, free_bytes=UNIT)
ALL = IdSet.first(8)


class ScriptedTee(TeeBackend):
    """Answers with what was put in, one after the other; hangs when there is nothing."""

    def __init__(self, access: ContainerAccess) -> None:
        self._access = access
        self._answered = False
        self.access_bug: Exception | None = None
        self.asked = 0
        self.outstanding = 0
        self.answers: asyncio.Queue[TeeMemory | Exception] = asyncio.Queue()

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        raise AssertionError(options)

    async def memory(self) -> TeeMemory:
        self.asked += 1
        self.outstanding += 1
        assert self.outstanding == 1
        try:
            answer = await self.answers.get()
        finally:
            self.outstanding -= 1
        if isinstance(answer, BaseException):
            raise answer
        self._answered = True
        return answer

    def access(self) -> ContainerAccess:
        assert self._answered
        if self.access_bug is not None:
            raise self.access_bug
        return self._access

    @property
    def default_reserve_bytes(self) -> int:
        assert self._answered
        return 3 * UNIT


class UnreadPodResources(PodResourcesClient):
    """Allocation records whose kubelet is too old, or not there."""

    async def refresh(self) -> bool:
        return False


class Watched:
    """A poller under way, and what it published so far."""

    def __init__(
        self,
        host_root: Path,
        *,
        interval_seconds: float,
        query_seconds: float,
        device: str,
        reserve_bytes: int | None,
        pod_resources: PodResourcesClient | None,
    ) -> None:
        devices = (Device(device, device),) if device else ()
        access = ContainerAccess(devices=devices, missing_fix="load the driver teelog")
        self.tee = ScriptedTee(access)
        self.latest_list: Latest[PublishedList | None] = Latest(None)
        self.pod_resources = pod_resources or UnreadPodResources(
            socket=Path("unread"), read=lambda _: iter(())
        )
        self.poller = TeePoller(
            backend=self.tee,
            policy_settings=PolicySettings(UNIT, reserve_bytes, interval_seconds),
            pod_resources=self.pod_resources,
            latest_list=self.latest_list,
            host_root=host_root,
            query_seconds=query_seconds,
        )

    async def answer(self, answer: TeeMemory | Exception) -> None:
        """Have the TEE answer its outstanding query so, and wait until it is asked the next one."""
        with anyio.fail_after(10):
            while not self.tee.outstanding:
                await anyio.lowlevel.checkpoint()
            asked = self.tee.asked
            self.tee.answers.put_nowait(answer)
            self.poller.query_now()
            while not self.tee.outstanding or self.tee.asked == asked:
                await anyio.lowlevel.checkpoint()

    async def listed(self, device_list: DeviceList) -> PublishedList:
        """Wait until this is what is listed."""
        with anyio.fail_after(10):
            async for published_list in self.latest_list.follow():
                if published_list is not None and published_list.device_list == device_list:
                    return published_list
        raise AssertionError


@asynccontextmanager
async def watched(
    host_root: Path = Path("/"),
    *,
    interval_seconds: float = 3600,
    query_seconds: float = 10,
    device: str = "",
    reserve_bytes: int | None = 0,
    pod_resources: PodResourcesClient | None = None,
) -> AsyncIterator[Watched]:
    watched = Watched(
        host_root,
        interval_seconds=interval_seconds,
        query_seconds=query_seconds,
        device=device,
        reserve_bytes=reserve_bytes,
        pod_resources=pod_resources,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watched.poller.run)
        yield watched
        tasks.cancel_scope.cancel()


def events(logs: list[Any]) -> list[str]:
    """Name what was logged, without the readings, which are of the level debug."""
    return [entry["event"] for entry in logs if entry["event"] != "reading"]
