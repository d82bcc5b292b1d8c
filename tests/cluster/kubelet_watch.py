"""How long a kubelet was without healthy devices of ours, by its own word; for the updates.

Asked twice: its records over PodResources, looked at again and again, give the time from the last
look that found devices to the next that did; its log tells to the microsecond when it marked them
unhealthy and when it had processed a list again. The node object would be too coarse: it shows a
change up to a second later, and a short one never.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic

import anyio
from grpclib.client import Channel

from teeplugin.api.podresources import v1
from tests.cluster.lab import Lab
from tests.cluster.pods import RESOURCE
from tests.cluster.versions import NO_ALLOCATABLE

# The kubelet refuses more than 100 calls a second, and the plugin has to get its own.
_LOOK_SECONDS = 0.02
_ANSWER_SECONDS = 5

_ENTRY = re.compile(r"[IWE](\d{4} \d\d:\d\d:\d\d\.\d{6}) .*?\] (.*)")
_GONE = "Mark all resources Unhealthy for resource"
# The second is what a kubelet before 1.25 logs; a newer one logs it too, before it has processed
# the list, and names the resource otherwise.
_LISTED = re.compile(
    r'Processed device updates for resource"?(?!.*healthyCount=0)'
    r'|State pushed for device plugin(?: |" resourceName=)'
)


@dataclass
class Gaps:
    """What the kubelet said while it was watched, in milliseconds."""

    by_records_ms: list[float] = field(default_factory=list)
    by_log_ms: list[float] = field(default_factory=list)
    lists: int = 0
    """How many lists it has processed."""

    def __str__(self) -> str:
        """Both sums, for people."""
        return (
            f"kubelet at 0 for {sum(self.by_log_ms):.0f} ms by its log, at most "
            f"{sum(self.by_records_ms):.0f} ms by its records; {self.lists} lists processed"
        )


@asynccontextmanager
async def watched(lab: Lab) -> AsyncIterator[Gaps]:
    """Watch until the block ends; what the log tells is there only then."""
    gaps = Gaps()
    log = lab.log("kubelet")
    before = log.stat().st_size
    async with anyio.create_task_group() as tasks:
        if not lab.settings.versions.differs_by(NO_ALLOCATABLE):
            tasks.start_soon(_look, lab.kubelet_dir, gaps)
        yield gaps
        tasks.cancel_scope.cancel()
    _read_log(_text(log, before), gaps)


async def _look(kubelet_dir: Path, gaps: Gaps) -> None:
    channel = Channel(path=os.fspath(kubelet_dir / "pod-resources" / "kubelet.sock"))
    try:
        records = v1.PodResourcesListerStub(channel)
        seen_at, gap = monotonic(), False
        while True:
            there = await _has_devices(records)
            if there:
                if gap:
                    gaps.by_records_ms.append((monotonic() - seen_at) * 1000)
                seen_at = monotonic()
            gap = not there
            await anyio.sleep(_LOOK_SECONDS)
    finally:
        channel.close()


async def _has_devices(records: v1.PodResourcesListerStub) -> bool:
    request = v1.AllocatableResourcesRequest()
    answer = await records.get_allocatable_resources(request, timeout=_ANSWER_SECONDS)
    return any(one.resource_name == RESOURCE and one.device_ids for one in answer.devices)


def lists_processed(log: Path, after_bytes: int = 0) -> list[float]:
    """When the kubelet had processed each list with healthy units of ours, by its log."""
    return [at.timestamp() for at, listed in _entries(_text(log, after_bytes)) if listed]


def _text(log: Path, after_bytes: int) -> str:
    with log.open("rb") as file:
        file.seek(after_bytes)
        return file.read().decode(errors="replace")


def _entries(text: str) -> Iterator[tuple[datetime, bool]]:
    """Give when our units were marked unhealthy (False) or a list with healthy ones came (True)."""
    year = datetime.now().astimezone().year  # the log doesn't have it
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry is None or RESOURCE not in entry[2]:
            continue
        listed = _LISTED.search(entry[2]) is not None
        if listed or _GONE in entry[2]:
            at = datetime.strptime(f"{year}{entry[1]}", "%Y%m%d %H:%M:%S.%f")  # noqa: DTZ007 - made so by the next
            yield at.astimezone(), listed


def _read_log(text: str, gaps: Gaps) -> None:
    gone_at: datetime | None = None
    for at, listed in _entries(text):
        if not listed:
            gone_at = gone_at or at
        else:
            gaps.lists += 1
            if gone_at is not None:
                gaps.by_log_ms.append((at - gone_at).total_seconds() * 1000)
            gone_at = None
