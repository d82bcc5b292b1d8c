"""A plugin process and its kubelet, of which we are told how well it is served."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from time import monotonic

from tests.bench import peer
from tests.hostile.wire import allocate
from tests.plugin_process import Plugin
from tests.usage import Usage

INTERVAL_SECONDS = 0.1
IDS = 10


@dataclass
class Served:
    """What the kubelet saw, in milliseconds: of its calls, and of flips until the list came.

    `plugins` is what of a call's time is the plugin's doing: without that in which it or we wanted
    to run, and the machine had no processor free. On a busy machine that is most of it.
    """

    calls: list[float] = field(default_factory=list)
    plugins: list[float] = field(default_factory=list)
    flips: list[float] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"Allocate {_spread(self.calls)}\n"
            f"           … without waiting for a processor {_spread(self.plugins)}\n"
            f"           list after a flip {_spread(self.flips)}"
        )


def percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{len(values)} times"
    middle, high = percentile(values, 50), percentile(values, 99)
    return f"p50 {middle:.1f}, p99 {high:.1f}, most {max(values):.1f} ms ({len(values)} times)"


class Node:
    """One kubelet, whose connection is the only good one, and the plugin that it watches."""

    def __init__(self, plugin: Plugin, kubelet: peer.Kubelet, units: int) -> None:
        self.plugin = plugin
        self.units = units
        self._kubelet = kubelet
        self._client: peer.Plugin | None = None
        self._healthy = True

    @property
    def socket(self) -> Path:
        (path,) = self._kubelet.plugin_sockets
        return path

    async def registered(self) -> None:
        self._client = await self._kubelet.registered()
        await self._client.list_of(self.units)

    async def call(self, served: Served | None = None) -> None:
        """Allocate once, all units being healthy."""
        assert self._client is not None
        began, starved = monotonic(), self._starved_seconds()
        await self._client.allocate(allocate(range(IDS)))
        took, starved = monotonic() - began, self._starved_seconds() - starved
        if served is not None:
            served.calls.append(took * 1_000)
            served.plugins.append(max(0.0, took - starved) * 1_000)

    def _starved_seconds(self) -> float:
        """How long the plugin and we have waited for a processor up to now."""
        read = (Path(f"/proc/{pid}/schedstat").read_text() for pid in (self.plugin.pid, "self"))
        return sum(int(schedstat.split()[1]) for schedstat in read) / 1e9

    async def flip(self) -> float:
        """Have all units turn unhealthy, or healthy again; milliseconds until the list is here."""
        assert self._client is not None
        self._healthy = not self._healthy
        began = monotonic()
        self.plugin.play(fault="none" if self._healthy else "unreachable")
        await self._client.list_of(self.units if self._healthy else 0)
        return (monotonic() - began) * 1_000

    async def serve(self, seconds: float, pause_seconds: float = 0.05) -> Served:
        """Be a kubelet for a while: calls one after the other, and now and then a flip and back."""
        served = Served()
        ends = monotonic() + seconds
        while monotonic() < ends:
            for _ in range(20):
                await self.call(served)
                await asyncio.sleep(pause_seconds)
            served.flips += [await self.flip(), await self.flip()]
        return served

    def usage(self) -> Usage:
        return Usage.of(self.plugin.pid)

    def problems(self) -> list[str]:
        """What the log has that it mustn't have, and whether the stream was ever lost."""
        events = [entry["event"] for entry in self.plugin.events()]
        found = [
            f"{events.count(name)} × {name}"
            for name in ("plugin_bug", "telemetry_bug", "not_raised", "registering_again")
            if name in events
        ]
        log = self.plugin.log.read_text()
        if events.count("registered") != 1:
            found.append(f"registered {events.count('registered')} times")
        if "Traceback" in log:
            found.append("a traceback in the log")
        if not self.plugin.running:
            found.append(f"the plugin ended: {log[-500:]}")
        return found


@asynccontextmanager
async def node(units: int) -> AsyncIterator[Node]:
    """A plugin that is registered, until the block is left."""
    directory = Path(tempfile.mkdtemp(prefix="tee-"))
    kubelet_dir = directory / "k"
    kubelet_dir.mkdir()
    plugin = Plugin(
        directory,
        kubelet_dir=kubelet_dir,
        host_root=Path("/"),
        units=units,
        access="none",
        flags=("--health-interval", str(INTERVAL_SECONDS)),
    )
    try:
        async with peer.Kubelet(kubelet_dir) as kubelet:
            with plugin:
                one = Node(plugin, kubelet, units)
                await one.registered()
                yield one
                if plugin.running:
                    plugin.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
