"""One node under chaos: a kubelet, a plugin or two, a TEE; what can be done to them, and undone."""

import asyncio
import resource
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.clock import WallClock
from tests.chaos.faults import Disturbance, Faults
from tests.chaos.model import Model
from tests.contract.under_test import KubeletUnderTest
from tests.plugin_process import Plugin
from tests.waiting import eventually

FAULTS = ("unreachable", "refused", "busy", "timed-out", "bad-reply", "exhausted", "bug", "hang")
CLOCKS = (-365 * 86_400, -3_600, -1, 0, 1, 3_600, 86_400)
"""Seconds by which the clock is wrong: as without a battery, in the wrong zone, slightly."""

CAPACITIES = (64, 100, 128, 160)
ALLOCATED = 10
FEW_DESCRIPTORS = 3
"""Left to a plugin that runs out of them: not enough for a query, a connection and a directory."""

START_SECONDS = 60.0
"""An interpreter's start, on a machine that is busy with other things."""

_MAX_INODES = 200

_APART = (
    # A kubelet that can't write its directory doesn't start, whatever the plugin does.
    {"kubelet", "disk", "records"},
    {"disk", "pods"},
    {"no", "plugin"},  # one plugin is starved, and that one stays
    {"settings", "plugin"},  # a plugin that starts takes no bad file
    {"settings", "reserve"},
)
"""Kinds of which only one is active at a time."""


@dataclass
class World:
    """What is disturbed. `at_most_one` of a kind goes on at a time; `story` tells what was done."""

    kubelet: KubeletUnderTest
    directory: Path
    random: Random
    on_tmpfs: bool = False
    model: Model = field(default_factory=lambda: Model(128))
    plugins: list[Plugin] = field(default_factory=list)
    ended: list[Plugin] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    going_on: dict[str, Disturbance] = field(default_factory=dict)
    hung: bool = False
    serial: int = 0
    largest: int = 0
    """The most units that the TEE has had."""

    def __post_init__(self) -> None:
        self.clock = WallClock(self.directory)
        self.faults = Faults(self.kubelet, self.directory, self.random, self.model)

    @property
    def plugin(self) -> Plugin:
        """The newest plugin."""
        return self.plugins[-1]

    def start_plugin(self) -> None:
        """Start one more, on the TEE as it is now."""
        self.serial += 1
        plugin = self.kubelet.plugin(
            self.directory, f"plugin-{self.serial}", units=self.model.total
        )
        plugin.environment |= self.clock.environment
        self.faults.prepare(plugin)
        self.plugins.append(plugin)
        self.play()
        plugin.start()

    def play(self, **what: str) -> None:
        """Have every plugin's TEE be as the model says, with this as well."""
        self.largest = max(self.largest, self.model.total)
        for plugin in self.plugins:
            plugin.play(**self.model.as_played(), **what)

    async def disturb(self) -> None:
        """Do the next thing: begin a disturbance, or end one that goes on."""
        if self.going_on and self.random.random() < 0.4:
            await self.end(self.random.choice(sorted(self.going_on)))
            return
        possible = self._possible()
        kind = self.random.choice(sorted({each.kind for each in possible}))
        disturbance = self.random.choice([each for each in possible if each.kind == kind])
        self.story.append(disturbance.name)
        if disturbance.kind == "settings":
            # A plugin that starts takes no bad file, and so ends.
            await eventually("the plugin begins", self._has_begun, START_SECONDS)
        await disturbance.begin()
        if disturbance.end is not None:
            self.going_on[disturbance.name] = disturbance
        await asyncio.sleep(self.random.choice((0, 0, 0.02, 0.1, 0.3)))

    async def end(self, name: str) -> None:
        """End what goes on under this name."""
        ended = self.going_on.pop(name)
        self.story.append(f"{name} ends")
        assert ended.end is not None
        await ended.end()

    async def end_all(self) -> None:
        """End whatever goes on, the disk first: a kubelet that starts has to write."""
        try:
            for name in sorted(self.going_on, key=lambda each: (not each.startswith("disk"), each)):
                await self.end(name)
        finally:
            await self.faults.close()

    def _has_begun(self) -> bool:
        return bool(self.plugin.events()) or not self.plugin.running

    def _possible(self) -> list[Disturbance]:
        """What can be begun now."""
        every = [
            Disturbance("kubelet killed", self.kubelet.kill, self.kubelet.start),
            Disturbance("kubelet stopped", self.kubelet.stop, self.kubelet.start),
            Disturbance("own socket removed", self._remove_own_sockets),
            Disturbance("plugin killed", self._kill_plugin, self._start_plugin),
            Disturbance("plugin overlapped", self._start_plugin, self._end_older),
            Disturbance("SIGHUP", self._hang_up),
            Disturbance("clock set", self._set_clock),
            Disturbance("capacity changed", self._change_capacity),
            Disturbance("others' use changed", self._change_others),
            Disturbance("TEE slow", partial(self._fail, "latency", "0.3"), self._mend),
            Disturbance("no descriptors", self._starve, self._feed),
            *self.faults.rows(),
            *(
                Disturbance(f"TEE {fault}", partial(self._fail, "fault", fault), self._mend)
                for fault in FAULTS
            ),
        ]
        if self.on_tmpfs:
            every += [
                Disturbance("directory replaced", self._replace_directory),
                Disturbance("disk full", self._fill_disk, self._empty_disk),
                Disturbance(
                    "disk read-only", partial(self._remount, "ro"), partial(self._remount, "rw")
                ),
            ]
        return [each for each in every if self._fits(each.name)]

    def _fits(self, name: str) -> bool:
        kind, kinds = name.split(maxsplit=1)[0], {each.kind for each in self.going_on.values()}
        if kind == "directory":
            # Replaced while its kubelet is down, as a node's cleaning up does.
            down = {"kubelet killed", "kubelet stopped"}
            return bool(down & self.going_on.keys()) and "disk" not in kinds
        apart = list(_APART)
        if not self.on_tmpfs:
            # A real pod isn't admitted, nor removed, until its kubelet is back.
            apart.append({"pods", "kubelet"})
        return not any(kind in group and kinds & group for group in apart) and kind not in kinds

    async def _remove_own_sockets(self) -> None:
        for path in self.kubelet.device_plugins_dir.glob("tee-ram-*.sock"):
            try:
                path.unlink(missing_ok=True)
            except OSError:  # the disk is read-only
                return

    async def _replace_directory(self) -> None:
        kept = self.directory / "kept"
        directory = self.kubelet.device_plugins_dir
        checkpoint = directory / "kubelet_internal_checkpoint"
        if checkpoint.exists():
            shutil.copy(checkpoint, kept)
        # Away in one step: a plugin may just be binding its socket there.
        old = directory.with_name("replaced")
        directory.rename(old)
        directory.mkdir()
        shutil.rmtree(old)
        if kept.exists():
            shutil.copy(kept, checkpoint)

    async def _kill_plugin(self) -> None:
        for plugin in self.plugins:
            if plugin.running:
                self._end_plugin(plugin, signal.SIGKILL)

    def _end_plugin(self, plugin: Plugin, number: signal.Signals) -> None:
        self.ended.append(plugin)
        if number == signal.SIGKILL:
            plugin.kill()
        else:
            plugin.signal(number)

    async def _start_plugin(self) -> None:
        self.start_plugin()

    async def _end_older(self) -> None:
        for plugin in self.plugins[:-1]:
            if plugin.running:
                kills = self.random.random() < 0.5
                self._end_plugin(plugin, signal.SIGKILL if kills else signal.SIGTERM)

    async def _hang_up(self) -> None:
        for plugin in self.plugins:
            # Before the interpreter is there, nobody can keep a signal from ending a process.
            if plugin.running and plugin.events():
                plugin.signal(signal.SIGHUP)

    async def _set_clock(self) -> None:
        self.clock.set(self.random.choice(CLOCKS))

    async def _change_capacity(self) -> None:
        self.model.total = self.random.choice(CAPACITIES)
        self.play()

    async def _change_others(self) -> None:
        self.model.others = self.random.randrange(0, self.model.total)
        self.play()

    async def _fail(self, key: str, value: str) -> None:
        self.hung = self.hung or value == "hang"
        self.play(**{key: value})

    async def _mend(self) -> None:
        self.play(fault="none", latency="0")

    async def _starve(self) -> None:
        for plugin in self.plugins:
            if plugin.running and plugin.events():
                _limit_descriptors(plugin.pid, FEW_DESCRIPTORS)

    async def _feed(self) -> None:
        for plugin in self.plugins:
            if plugin.running:
                _, most = resource.prlimit(plugin.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(plugin.pid, resource.RLIMIT_NOFILE, (most, most))

    async def _fill_disk(self) -> None:
        folder = self.kubelet.kubelet_dir / "fill"
        folder.mkdir()
        try:
            for number in range(_MAX_INODES):
                (folder / str(number)).touch()
        except OSError:
            return

    async def _empty_disk(self) -> None:
        shutil.rmtree(self.kubelet.kubelet_dir / "fill")

    async def _remount(self, mode: str) -> None:
        command = ["mount", "-o", f"remount,{mode}", str(self.kubelet.kubelet_dir)]

        def remounted() -> bool:
            # Busy while somebody is just writing a file.
            return subprocess.run(command, check=False, capture_output=True).returncode == 0

        await eventually(f"remounted {mode}", remounted, 5)


def _limit_descriptors(pid: int, spare: int) -> None:
    """Leave a process as few descriptors as it has, and `spare` more."""
    used = max(int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir())
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + spare, most))


def mount_tmpfs(directory: Path) -> None:
    """Put a small file system of its own at the kubelet's directory; needs root."""
    options = f"size=4m,nr_inodes={_MAX_INODES},mode=755"
    command = ["mount", "-t", "tmpfs", "-o", options, "teeplugin-chaos", str(directory)]
    subprocess.run(command, check=True, capture_output=True)


def unmount(directory: Path) -> None:
    """Take it away again, whoever still has a file open there."""
    subprocess.run(["umount", "--lazy", str(directory)], check=True, capture_output=True)
