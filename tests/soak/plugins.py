"""The plugin as a process that tells of itself: on a simulated TEE, or on the test libteec."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated
from tests.http import ANY_PORT
from tests.plugin_process import Plugin
from tests.tee.build import build
from tests.tee.plugin import LibteecPlugin
from tests.usage import Usage
from tests.waiting import eventually

UNITS = 848
"""What the test libteec's 1 GiB is without iTrustee's reserve."""

ANSWER_SECONDS = 0.3
"""How long a query of the test libteec may hang."""

# The plugin itself, but that it writes down how many tasks it has where it is sent SIGUSR1.
_TELLS = """
import asyncio, os, pathlib, signal, sys
def tell(*_):
    told = pathlib.Path(os.environ["SOAK_TOLD"])
    fresh = told.with_suffix(".new")
    fresh.write_text(str(len(asyncio.all_tasks(asyncio.get_running_loop()))))
    fresh.rename(told)
signal.signal(signal.SIGUSR1, tell)
"""
_PLAIN = "from teeplugin.cli.main import main\nsys.exit(main())\n"
_FIRST_SAMPLES = 5


class Tee(Protocol):
    """What is done to the TEE; each is over with `mended`."""

    async def mended(self) -> None: ...

    async def broken(self) -> None: ...

    async def hung(self) -> None: ...


@dataclass(frozen=True)
class Sample:
    """The plugin at rest."""

    events: int
    seconds: float
    usage: Usage
    tasks: int

    def row(self) -> str:
        usage = self.usage
        return (
            f"{self.events:>7} {self.seconds:>6.0f} {usage.rss_mb:>8.1f} {usage.descriptors:>6} "
            f"{usage.threads:>8} {self.tasks:>6} {usage.children:>9} {usage.cpu_seconds:>6.1f}"
        )


HEAD = " events      s   RSS MB    fds  threads  tasks  children  CPU s"


class Watched:
    """A plugin process, looked at from outside."""

    def __init__(self, plugin: Plugin, told: Path) -> None:
        self.plugin = plugin
        self._told = told

    async def at_rest(self, events: int, seconds: float) -> Sample:
        """Look a few times, as a query opens descriptors for a moment: the least of each."""
        samples = []
        for _ in range(_FIRST_SAMPLES):
            self._told.unlink(missing_ok=True)
            self.plugin.signal(signal.SIGUSR1)
            await eventually("what the plugin tells of itself", self._told.exists)
            samples.append((Usage.of(self.plugin.pid), int(self._told.read_text())))
            await asyncio.sleep(0.03)
        least = replace(
            samples[-1][0],
            descriptors=min(usage.descriptors for usage, _ in samples),
            threads=min(usage.threads for usage, _ in samples),
            children=min(usage.children for usage, _ in samples),
        )
        return Sample(events, seconds, least, min(tasks for _, tasks in samples))


class _SmallState(Plugin):
    """Whose state file keeps its size, however often it is played."""

    def play(self, **what: str | int) -> None:
        self._playing: dict[str, str | int] = getattr(self, "_playing", {}) | what
        fresh = self.state.with_suffix(".new")
        fresh.write_text("".join(f"{key}={value}\n" for key, value in self._playing.items()))
        fresh.rename(self.state)


class SimulatedTee:
    """The simulated backend's."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    async def mended(self) -> None:
        self._plugin.play(fault="none")

    async def broken(self) -> None:
        self._plugin.play(fault="unreachable")

    async def hung(self) -> None:
        """Only that it is slow: a hang is over at the deadline of 10 s."""
        self._plugin.play(fault="timed-out")


class LibteecTee:
    """The test libteec's, whose hangs cost a helper process each."""

    def __init__(self, plugin: LibteecPlugin) -> None:
        self._plugin = plugin
        self._hangs = 0

    async def mended(self) -> None:
        self._plugin.play()

    async def broken(self) -> None:
        self._plugin.play(fault="open:result:0xFFFF0000")

    async def hung(self) -> None:
        calls = ("load", "init", "open", "invoke", "close", "finalize")
        call = calls[self._hangs % len(calls)]
        self._hangs += 1
        self._plugin.play(fault=f"{call}:hang")


def simulated(directory: Path, kubelet: SimulatedKubelet) -> tuple[Watched, Tee]:
    """A plugin on the simulated backend, not yet started."""
    place = Simulated(kubelet, directory / "node")
    plugin = _SmallState(
        directory,
        kubelet_dir=kubelet.kubelet_dir,
        host_root=place.host_root,
        units=UNITS,
        listen=ANY_PORT,
    )
    started = plugin.command.index("-m")
    plugin.command[started : started + 2] = ["-c", _TELLS + _PLAIN]
    return _watched(plugin, directory), SimulatedTee(plugin)


def on_libteec(directory: Path, kubelet: SimulatedKubelet) -> tuple[Watched, Tee]:
    """A plugin on the test libteec, not yet started; needs gcc and make."""
    place = Simulated(kubelet, directory / "node")
    library = build(directory / "built").itrustee
    plugin = LibteecPlugin(directory, place, library, answer_seconds=str(ANSWER_SECONDS))
    code = plugin.command.index("-c") + 1
    plugin.command[code] = _TELLS + plugin.command[code]
    plugin.command[plugin.command.index("--listen") + 1] = ANY_PORT
    return _watched(plugin, directory), LibteecTee(plugin)


def _watched(plugin: Plugin, directory: Path) -> Watched:
    told = directory / "told"
    plugin.command[:0] = ["/usr/bin/env", f"SOAK_TOLD={told}"]
    return Watched(plugin, told)


Make = Callable[[Path, SimulatedKubelet], tuple[Watched, Tee]]

KINDS: Mapping[str, Make] = {"simulated": simulated, "libteec": on_libteec}
