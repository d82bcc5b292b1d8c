"""What happens to the node, at random; after each all is as before."""

import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from teeplugin.simulator import EventKind, SimulatedKubelet
from tests.http import get, telemetry_of
from tests.soak.plugins import UNITS, Tee, Watched
from tests.waiting import eventually

MAX_PODS = 5
WAIT_SECONDS = 30.0

_WEIGHTS = {
    "flip": 40,
    "pod": 30,
    "scrape": 20,
    "SIGHUP": 4,
    "kubelet restarted": 3,
    "kubelet killed": 3,
    "TEE hung": 3,
}


Act = Callable[[], Awaitable[None]]


class Node:
    """A plugin that is registered, its kubelet and its TEE."""

    def __init__(
        self, watched: Watched, kubelet: SimulatedKubelet, tee: Tee, random: Random
    ) -> None:
        self.plugin = watched.plugin
        self.done: Counter[str] = Counter()
        self._kubelet = kubelet
        self._tee = tee
        self._random = random
        self._pods: list[str] = []
        self._address = ""

    async def started(self) -> None:
        """Wait until the plugin is registered and tells of itself."""
        await self._healthy(UNITS)
        self._address = await telemetry_of(self.plugin)

    async def happens(self) -> None:
        """Have one thing happen, and end."""
        (what,) = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))
        self.done[what] += 1
        match what:
            case "flip":
                await self._tee.broken()
                await self._healthy(0)
            case "TEE hung":
                await self._tee.hung()
                await self._healthy(0)
            case "pod":
                await self._admit_or_remove()
            case "scrape":
                for path in ("/metrics", "/livez", "/status"):
                    assert (await get(self._address, path)).status == 200, path
                # The kubelet may have the list a moment before its Register is answered.
                assert (await get(self._address, "/readyz")).status in (200, 503)
            case "SIGHUP":
                await self._registers_again_after(self._hang_up)
            case "kubelet restarted":
                await self._registers_again_after(self._kubelet.stop, self._kubelet.start)
            case "kubelet killed":
                await self._registers_again_after(self._kubelet.kill, self._kubelet.start)
        await self._tee.mended()
        await self._healthy(UNITS)

    async def _admit_or_remove(self) -> None:
        if len(self._pods) == MAX_PODS:
            await self._kubelet.remove(self._pods.pop(self._random.randrange(MAX_PODS)))
            return
        name = f"pod-{self.done['pod']}"
        await self._kubelet.admit(name, self._random.randrange(1, 20))
        self._pods.append(name)

    async def _hang_up(self) -> None:
        self.plugin.signal(signal.SIGHUP)

    async def _registers_again_after(self, *acts: Act) -> None:
        before = len(self._kubelet.events)
        for act in acts:
            await act()
        await eventually(
            "another list",
            lambda: any(
                event.kind is EventKind.LIST_RECEIVED for event in self._kubelet.events[before:]
            ),
            WAIT_SECONDS,
        )

    async def _healthy(self, count: int) -> None:
        await eventually(
            f"{count} healthy units",
            lambda: len(self._kubelet.healthy_ids()),
            WAIT_SECONDS,
            until=count.__eq__,
        )
