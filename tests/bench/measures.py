"""What is measured of the running daemon, one function a scene; each makes its own daemon."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from time import monotonic
from typing import NamedTuple

from teeplugin.api.deviceplugin import v1beta1
from tests.bench import bare
from tests.bench.daemon import HEALTHY, UNHEALTHY, Daemon
from tests.bench.errors import BenchError
from tests.bench.figures import Results
from tests.bench.peer import Kubelet, Plugin, watch_once

ALLOCATIONS = 2_000
FLIPS = 50
ANSWERED_FLIPS = 10
IDLE_SECONDS = 10.0
AWAY_SECONDS = 0.3
STEADY_SECONDS = 1.2
"""Longer than the registration takes to call the one before a good one."""

SETTLE_SECONDS = 0.5
NEVER, ALWAYS = 3600.0, 0.05
FEW_STREAMS, MORE_STREAMS = 20, 200


class Node(NamedTuple):
    """A kubelet with a daemon that has registered and given its first list."""

    kubelet: Kubelet
    daemon: Daemon
    plugin: Plugin
    first_list: float


@asynccontextmanager
async def node(units: int, *, interval: float, answering: bool = False) -> AsyncIterator[Node]:
    kubelet_dir = Path(tempfile.mkdtemp(prefix="tb-"))
    daemon = Daemon(kubelet_dir, units, interval=interval, answering=answering)
    try:
        async with Kubelet(kubelet_dir) as kubelet, daemon:
            try:
                if answering:
                    await daemon.answer(HEALTHY)
                plugin = await kubelet.registered()
                received = (await plugin.list_of(units)).received
                yield Node(kubelet, daemon, plugin, received)
            except BenchError as error:
                daemon.check_alive()
                raise BenchError(
                    f"{error}; the daemon's last line: {daemon.last_words()}"
                ) from None
    finally:
        shutil.rmtree(kubelet_dir)


async def warm_up() -> None:
    """Start once without counting: bytecode is written, files come into the cache."""
    async with node(1, interval=NEVER):
        pass


async def starts(units: int, rounds: int, results: Results) -> None:
    """Start the daemon and, just before it each time, the bare process that it is compared with."""
    bares, registered, rss_mb, listed, register_listed, cpu_seconds = [], [], [], [], [], []
    for _ in range(rounds):
        bares.append(bare.start())
        async with node(units, interval=NEVER) as running:
            cpu_seconds.append(running.daemon.usage().cpu_seconds)
            spawned, plugin = running.daemon.spawned, running.plugin
            registered.append((max(plugin.answered, running.first_list) - spawned) * 1000)
            listed.append(running.first_list - spawned)
            register_listed.append(running.first_list - plugin.began)
            await asyncio.sleep(SETTLE_SECONDS)
            rss_mb.append(running.daemon.usage().rss_mb)
    results.put("start_registered", units, median(registered))
    results.put("start_bare", units, median(each.start_ms for each in bares))
    results.put("start_ratio", units, _ratio(registered, [each.start_ms for each in bares]))
    results.put("start_list", units, median(listed) * 1000)
    results.put("start_cpu", units, median(cpu_seconds) * 1000)
    results.put("register_list", units, median(register_listed) * 1000)
    results.put("rss_bare", units, median(each.rss_mb for each in bares))
    results.put("rss_ratio", units, _ratio(rss_mb, [each.rss_mb for each in bares]))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Give the median of the ratios, pair by pair: both of a pair were measured within a second."""
    return median(one / other for one, other in zip(ours, theirs, strict=True))


async def answered_flips(units: int, results: Results) -> None:
    """The time from the TEE's very answer, without the wait for the query."""
    async with node(units, interval=0.5, answering=True) as running:
        taken = []
        for _ in range(ANSWERED_FLIPS // 2):
            for fault, healthy in ((UNHEALTHY, 0), (HEALTHY, units)):
                answered = await running.daemon.answer(fault)
                taken.append((await running.plugin.list_of(healthy)).received - answered)
    results.put("flip", units, median(taken) * 1000)


async def memory(units: int, results: Results) -> None:
    async with node(units, interval=ALWAYS) as running:
        await asyncio.sleep(SETTLE_SECONDS)
        results.put("rss_start", units, running.daemon.usage().rss_mb)
        taken = []
        for number in range(FLIPS):
            # At every moment between two queries alike, not always just after one.
            await asyncio.sleep(ALWAYS * number / FLIPS)
            taken.append(await _flip(running, units, number))
        results.put("flip_asked", units, median(taken) * 1000)
        await asyncio.sleep(SETTLE_SECONDS)
        results.put("rss_flips", units, running.daemon.usage().rss_mb)
        results.put("rss_peak", units, running.daemon.usage().peak_rss_mb)


async def _flip(running: Node, units: int, number: int) -> float:
    """Make all units unhealthy, or healthy again each second time; how long the list took."""
    fault, healthy = (HEALTHY, units) if number % 2 else (UNHEALTHY, 0)
    changed = running.daemon.set_fault(fault)
    return (await running.plugin.list_of(healthy)).received - changed


async def allocations(units: int, results: Results) -> None:
    ids = [str(units * index // 10) for index in range(10)] if units >= 10 else ["0"]
    container = v1beta1.ContainerAllocateRequest(devices_i_ds=ids)
    request = bytes(v1beta1.AllocateRequest(container_requests=[container]))
    async with node(units, interval=NEVER) as running:
        taken, before = [], running.daemon.usage()
        for _ in range(ALLOCATIONS):
            began = monotonic()
            answer = await running.plugin.allocate(request)
            taken.append((monotonic() - began) * 1000)
        if not answer:
            raise BenchError("Allocate was answered without a container's response")
        cpu_seconds = running.daemon.usage().cpu_seconds - before.cpu_seconds
        results.put("allocate_cpu", units, cpu_seconds / ALLOCATIONS * 1000)
        results.put("rss_allocate", units, running.daemon.usage().rss_mb)
    results.put("allocate_p50", units, median(taken))
    results.put("allocate_p99", units, quantiles(taken, n=100)[98])


async def kubelet_restarts(units: int, rounds: int, results: Results) -> None:
    called, listed = [], []
    async with node(units, interval=NEVER) as running:
        for _ in range(rounds):
            await asyncio.sleep(STEADY_SECONDS)
            await running.kubelet.stop()
            await asyncio.sleep(AWAY_SECONDS)
            accepts = await running.kubelet.start()
            plugin = await running.kubelet.registered()
            received = (await plugin.list_of(units)).received
            called.append(plugin.began - accepts)
            listed.append(max(plugin.answered, received) - accepts)
    results.put("restart_register", units, median(called) * 1000)
    results.put("restart_list", units, median(listed) * 1000)


async def idle(counts: Sequence[int], results: Results) -> None:
    """All daemons at once: none of them does anything that would disturb the others."""
    async with AsyncExitStack() as stack:
        nodes = {
            units: await stack.enter_async_context(node(units, interval=60.0)) for units in counts
        }
        await asyncio.sleep(SETTLE_SECONDS)
        began = monotonic()
        before = {units: running.daemon.usage() for units, running in nodes.items()}
        await asyncio.sleep(IDLE_SECONDS)
        for units, running in nodes.items():
            now, seconds = running.daemon.usage(), monotonic() - began
            cpu_seconds = now.cpu_seconds - before[units].cpu_seconds
            results.put("idle_cpu", units, cpu_seconds / seconds * 100)
            results.put("idle_wakeups", units, (now.sleeps - before[units].sleeps) / seconds)


async def soak_flips(units: int, flips: int, results: Results) -> None:
    """Whether memory stays as it is over many flips."""
    async with node(units, interval=0.01) as running:
        first_mb = 0.0
        for number in range(flips):
            if number == FLIPS:
                await asyncio.sleep(SETTLE_SECONDS)
                first_mb = running.daemon.usage().rss_mb
            await _flip(running, units, number)
        await asyncio.sleep(SETTLE_SECONDS)
        results.put("soak_flips", units, running.daemon.usage().rss_mb)
        results.put("soak_flips_ratio", units, running.daemon.usage().rss_mb / first_mb)


async def soak_streams(units: int, results: Results) -> None:
    """Whether memory stays as it is over many clients that come and go."""
    async with node(units, interval=NEVER) as running:
        (path,) = running.kubelet.plugin_sockets
        first_mb = 0.0
        for number in range(FEW_STREAMS + MORE_STREAMS):
            if number == FEW_STREAMS:
                await asyncio.sleep(SETTLE_SECONDS)
                first_mb = running.daemon.usage().rss_mb
            await watch_once(path)
        await asyncio.sleep(SETTLE_SECONDS)
        results.put("soak_streams", units, running.daemon.usage().rss_mb)
        results.put("soak_streams_ratio", units, running.daemon.usage().rss_mb / first_mb)
