"""What the keys do to the node, and what each would do now."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

from teeplugin.config.settings import ConfigError
from teeplugin.policy.units import KIB, format_size
from teeplugin.simulator.admission import AdmissionError, ContainerStartError
from teeplugin.simulator.live.picture import Key
from teeplugin.simulator.stage import Stage
from teeplugin.simulator.tee_control import FAULTS, NO_FAULT
from teeplugin.simulator.timeline import ERROR

QUIT = "q"

_POD_UNITS = 10
_LARGE_POD_PART = 4
_LARGEST_POD_UNITS = 1000
"""More takes the simulated kubelet seconds, in which nothing else goes on."""

_SPEEDS = (("full", 0.0), ("a step a second", 1.0), ("slow", 3.0), ("paused", math.inf))
"""Names, and seconds before each step of a scenario."""

_OTHERS_STEPS = 8
_TEE_KEYS = "+-tf"


class Pace:
    """How long a scenario waits before each of its steps; `plays` while one is played."""

    def __init__(self) -> None:
        self.plays = False
        self._at = 0
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """The speed in words."""
        return _SPEEDS[self._at][0]

    def next(self) -> None:
        """Choose the next speed; a wait that is under way follows it."""
        self._at = (self._at + 1) % len(_SPEEDS)
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Wait as long as the speed asks before a step."""
        begun = asyncio.get_running_loop().time()
        while True:
            seconds = _SPEEDS[self._at][1]
            left = begun + seconds - asyncio.get_running_loop().time()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if math.isinf(left) else left):
                    await self._changed.wait()


class Controls:
    """The keys of one stage."""

    def __init__(self, stage: Stage, pace: "Pace | None" = None) -> None:
        self._stage = stage
        self._pods = 0
        self._fault = FAULTS[0]
        self.shows_reason = False
        self.pace = pace or Pace()
        self._doings: Mapping[str, Callable[[], Awaitable[None]]] = {
            "a": self._admit,
            "A": self._admit_large,
            "r": self._remove,
            "+": self._more,
            "-": self._less,
            "t": self._tee,
            "f": self._next_fault,
            "k": self._kubelet,
            "p": self._plugin,
        }

    def offered(self) -> Sequence[Key]:
        """The keys there are, with what they would do now."""
        stage, step = self._stage, format_size(self._step_bytes)
        broken = stage.tee.fault != NO_FAULT
        playing = (
            Key("+", f"others use {step} more"),
            Key("-", "less"),
            Key("t", "mend the TEE" if broken else "break the TEE"),
            Key("f", f"fault: {self._fault}"),
        )
        return (
            Key("a", f"admit a pod of {_POD_UNITS}"),
            Key("A", f"one of {self._large_units}"),
            Key("r", "remove the newest"),
            *(playing if stage.tee.is_played else ()),
            Key("k", f"{'stop' if stage.kubelet.running else 'start'} the kubelet"),
            Key("p", f"{'end' if stage.plugin_runs else 'start'} the plugin"),
            Key("w", "back to the events" if self.shows_reason else self._why),
            *([Key("s", f"speed: {self.pace.name}")] if self.pace.plays else ()),
            Key(QUIT, "quit"),
        )

    def look(self, key: str) -> bool:
        """Do what changes the view only, at once; False: the key is for something else."""
        if key == "w":
            self.shows_reason = not self.shows_reason
        elif key == "s":
            self.pace.next()
        return key in "ws"

    async def press(self, key: str) -> None:
        """Do what a key means; what fails is told, and unknown keys mean nothing."""
        doing = self._doings.get(key)
        if doing is None or (key in _TEE_KEYS and not self._stage.tee.is_played):
            return
        try:
            await doing()
        except AdmissionError:
            return  # told by the kubelet
        except (ConfigError, ContainerStartError, OSError) as error:
            self._stage.timeline.played(str(error), ERROR)

    @property
    def _why(self) -> str:
        timeline = self._stage.timeline
        if timeline.fault:
            return "the fault and its fix"
        return "why units are short" if timeline.shortage else "why a pod was refused"

    @property
    def _large_units(self) -> int:
        units = self._stage.setup.units_of(self._stage.tee.total_bytes)
        return min(max(1, units // _LARGE_POD_PART), _LARGEST_POD_UNITS)

    @property
    def _step_bytes(self) -> int:
        step_bytes = self._stage.tee.total_bytes // _OTHERS_STEPS
        return step_bytes // KIB**2 * KIB**2 or step_bytes

    async def _admit(self) -> None:
        await self._admit_pod(_POD_UNITS)

    async def _admit_large(self) -> None:
        await self._admit_pod(self._large_units)

    async def _admit_pod(self, units: int) -> None:
        if self._kubelet_runs():
            self._pods += 1
            await self._stage.admit(f"pod-{self._pods}", units)

    async def _remove(self) -> None:
        pods = list(self._stage.kubelet.allocated())
        if not pods:
            self._stage.timeline.played("there is no pod to remove")
        elif self._kubelet_runs():
            await self._stage.remove(pods[-1])

    def _kubelet_runs(self) -> bool:
        if not self._stage.kubelet.running:
            self._stage.timeline.played("the kubelet is stopped: no pod can start or end")
        return self._stage.kubelet.running

    async def _more(self) -> None:
        tee = self._stage.tee
        most_bytes = max(0, tee.total_bytes - tee.pods_bytes)
        self._others(min(most_bytes, tee.others_bytes + self._step_bytes))

    async def _less(self) -> None:
        self._others(max(0, self._stage.tee.others_bytes - self._step_bytes))

    def _others(self, others_bytes: int) -> None:
        self._stage.tee.play(others_bytes=others_bytes)
        self._stage.timeline.played(f"others use {format_size(others_bytes)}")

    async def _tee(self) -> None:
        self._play_fault(self._fault if self._stage.tee.fault == NO_FAULT else NO_FAULT)

    async def _next_fault(self) -> None:
        """Choose the next fault; a TEE that is broken plays it at once."""
        self._fault = FAULTS[(FAULTS.index(self._fault) + 1) % len(FAULTS)]
        if self._stage.tee.fault != NO_FAULT:
            self._play_fault(self._fault)

    def _play_fault(self, fault: str) -> None:
        self._stage.tee.play(fault=fault)
        self._stage.timeline.played(f"the TEE simulates the fault {fault}")

    async def _kubelet(self) -> None:
        kubelet = self._stage.kubelet
        await (kubelet.stop() if kubelet.running else kubelet.start())

    async def _plugin(self) -> None:
        stage = self._stage
        if not stage.plugin_runs:
            stage.timeline.played("the plugin is started")
            await stage.start_plugin()
        elif not await stage.stop_plugin():
            stage.timeline.played("the plugin didn't end in time: it is killed", ERROR)
            await stage.kill_plugin()
