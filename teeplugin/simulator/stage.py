"""The simulated node: a kubelet, a TEE, and the real plugin between them; played by steps and keys.

Each method is one thing that can happen on a node. What follows is told by the kubelet's allocation
records, by the plugin's log and its end.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from teeplugin.policy.units import KIB, counted, flag_size, format_size, units_in
from teeplugin.simulator.admission import Admission
from teeplugin.simulator.amounts import Figures
from teeplugin.simulator.child import PluginProcess
from teeplugin.simulator.kubelet import DEFAULT_RESOURCE, SimulatedKubelet
from teeplugin.simulator.own_backend import OwnBackend
from teeplugin.simulator.profile import MODERN, Profile
from teeplugin.simulator.tee_control import PlayedTee, ReadTee
from teeplugin.simulator.timeline import ERROR, INFO, Timeline, readable
from teeplugin_backends.base import ContainerAccess, Device, Mount

HEALTH_INTERVAL_SECONDS = 0.2
"""How often the plugin asks the TEE unless a scenario says otherwise: nobody likes to wait."""

SHUTDOWN_SECONDS = 2.0
"""How long the plugin may take to end, which is what it promises."""

_KEPT_LINES = 12
_SETTINGS_PREFIX = "TEEPLUGIN_"
DIRECTORIES = ("/var/itrustee/teecd",)
DEVICES = ("/dev/teelog", "/dev/tc_ns_cvm")

_SIMULATED_ACCESS = ContainerAccess(
    mounts=tuple(Mount(path, path, read_only=True) for path in DIRECTORIES),
    devices=tuple(Device(path, path, "rw") for path in DEVICES),
)

NODE_PATHS = (*DIRECTORIES, *DEVICES)
"""What the plugin promises to containers, and looks for on the node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated, before anything has happened."""

    total_bytes: int
    precision_kb: int
    plugin: tuple[str, ...]
    wanted_reserve_bytes: int | None = None
    """What the plugin is to be given as its reserve; None: nothing, so that it takes the TEE's own.
    """

    health_interval_seconds: float = HEALTH_INTERVAL_SECONDS
    listen: str = "off"
    resource_name: str = DEFAULT_RESOURCE
    profile: Profile = MODERN
    backend: OwnBackend | None = None
    """Instead of the simulated TEE, which alone can be played."""

    host_root: Path | None = None
    """Where the node's own files are; None: in a directory of the simulation's."""

    @property
    def access(self) -> ContainerAccess:
        """What a container with units has to get, by the backend."""
        return self.backend.access if self.backend else _SIMULATED_ACCESS

    @property
    def reserve_bytes(self) -> int:
        """What is kept of the memory, by the plugin's setting or by the backend."""
        if self.wanted_reserve_bytes is not None:
            return self.wanted_reserve_bytes
        return self.backend.reserve_bytes if self.backend else 0

    @property
    def unit_bytes(self) -> int:
        """The memory of one unit."""
        return self.precision_kb * KIB

    def units_of(self, total_bytes: int) -> int:
        """How many units a TEE of so much memory makes."""
        return units_in(max(0, total_bytes - self.reserve_bytes), self.unit_bytes)


class Stage:
    """One simulated node in a directory of its own; `close` ends all that was started.

    `plugin` is the process that was started last, None before the first, and `plugin_wanted` says
    whether it is meant to run. `last_lines` are what it wrote last; `on_line` gets each line.
    """

    def __init__(
        self, setup: Setup, directory: Path, on_line: Callable[[str], None] = lambda _: None
    ) -> None:
        self.setup = setup
        self._on_line = on_line
        self.timeline = Timeline()
        self.kubelet = SimulatedKubelet(
            directory, profile=setup.profile, resource=setup.resource_name
        )
        self.kubelet.log.follow(self.timeline.kubelet)
        own = setup.backend
        self.tee = ReadTee(own.memory) if own else PlayedTee(directory / "tee", setup.total_bytes)
        self.plugin: PluginProcess | None = None
        self.last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._host_root = setup.host_root or directory / "host"
        self.kubelet.device_plugins_dir.mkdir(mode=0o750)
        self.plugin_wanted = False
        if own is None:
            self.set_missing(())

    async def close(self) -> None:
        """End the plugin and the kubelet."""
        if self.plugin is not None:
            await self.plugin.destroy()
        await self.kubelet.stop()

    def figures(self) -> Figures:
        """The numbers that amounts are worked out with."""
        return Figures(
            all=self.setup.units_of(self.tee.total_bytes),
            free=len(self.kubelet.free_ids()),
            allocated=sum(map(len, self.kubelet.allocated().values())),
            unit_bytes=self.setup.unit_bytes,
        )

    # The plugin

    @property
    def plugin_runs(self) -> bool:
        """Whether there is a plugin, and it has not ended."""
        return self.plugin is not None and self.plugin.exit_code is None

    @property
    def registered(self) -> bool:
        """Whether the kubelet watches the plugin's list."""
        book = self.kubelet.devices.resources.get(self.kubelet.resource)
        return book is not None and book.client is not None

    @property
    def plugin_end(self) -> str:
        """How the plugin ended, though nobody had asked it to; empty if it didn't."""
        if self.plugin_wanted and self.plugin is not None and self.plugin.exit_code is not None:
            return f"the plugin ended with exit {self.plugin.exit_code}"
        return ""

    async def start_plugin(self) -> None:
        """Start it; that it registers is another matter.

        Raises:
            ConfigError: it is no program that the system can run.
        """
        self.plugin = PluginProcess(
            self._command(), _environment(os.environ), on_line=self._said, on_exit=self._ended
        )
        await self.plugin.start()
        self.plugin_wanted = True

    async def stop_plugin(self) -> bool:
        """Ask it to end, as the kubelet does with a pod; False if it didn't in time."""
        self.plugin_wanted = False
        if self.plugin is None:
            return True
        self.plugin.send(signal.SIGTERM)
        return await self.plugin.exited_within(SHUTDOWN_SECONDS)

    async def kill_plugin(self) -> None:
        """End it as the system does that has no memory left."""
        self.plugin_wanted = False
        if self.plugin is not None:
            await self.plugin.destroy()

    def hang_up_plugin(self) -> None:
        """Have it ask, read and register anew."""
        if self.plugin is not None:
            self.plugin.send(signal.SIGHUP)

    def plugin_sockets(self) -> list[str]:
        """The sockets beside the kubelet's own: one while a plugin runs."""
        return sorted(
            path.name
            for path in self.kubelet.device_plugins_dir.iterdir()
            if path.is_socket() and path != self.kubelet.socket
        )

    @property
    def shortage_text(self) -> str:
        """Why units are short, by the plugin's log, with a fix; empty where none is."""
        short = self.timeline.shortage
        if short is None:
            return ""
        reserve_bytes = self.setup.reserve_bytes
        kept_bytes = reserve_bytes + short.allocated_units * self.setup.unit_bytes
        beyond_bytes = max(0, self.tee.total_bytes - short.free_bytes - kept_bytes)
        pods = f" and {counted(short.allocated_units, 'unit')} of pods"
        text = (
            f"{counted(short.units, 'unit')} short: {format_size(beyond_bytes)} used beyond a "
            f"reserve of {format_size(reserve_bytes)}{pods if short.allocated_units else ''}"
        )
        if self.tee.is_played:
            return text
        fix = f"end what uses it, or give --reserve {flag_size(reserve_bytes + beyond_bytes)}"
        return f"{text}: {fix}"

    # The kubelet and its pods

    async def restart_kubelet(self) -> None:
        """Stop it in order, and start it with the allocation records it has written down."""
        await self.kubelet.stop()
        await self.kubelet.start()

    async def admit(self, pod: str, units: int, uses_bytes: int | None = None) -> Admission:
        """Have a pod admitted whose TAs use all of its units, unless it is said how much.

        Raises:
            AdmissionError: the kubelet refused it.
        """
        admission = await self.kubelet.admit(pod, units)
        self.tee.use(pod, units * self.setup.unit_bytes if uses_bytes is None else uses_bytes)
        return admission

    async def remove(self, pod: str) -> None:
        """End a pod: its TAs first, as in a real one."""
        self.tee.release(pod)
        await self.kubelet.remove(pod)

    # The node's files

    def set_missing(self, paths: Collection[str]) -> None:
        """Have only these of `NODE_PATHS` be missing on the node."""
        for path in NODE_PATHS:
            at = self._host_root / path.lstrip("/")
            at.parent.mkdir(parents=True, exist_ok=True)
            if path not in paths:
                at.mkdir(exist_ok=True) if path in DIRECTORIES else at.touch()
            elif at.is_dir():
                at.rmdir()
            else:
                at.unlink(missing_ok=True)

    def _said(self, line: str) -> None:
        if self.timeline.plugin(line):
            self.last_lines.append(readable(line))
            self._on_line(self.last_lines[-1])
        self._follow()

    def _follow(self) -> None:
        fault = self.timeline.fault
        self.tee.follow(fault.kind if fault else None, self.timeline.reading)
        self.kubelet.log.wake()

    def _ended(self) -> None:
        code = self.plugin.exit_code if self.plugin is not None else None
        self.timeline.ended(code, ERROR if self.plugin_wanted else INFO)
        self._follow()

    def _command(self) -> list[str]:
        setup = self.setup
        # Only the debug log has each reading; what is played is known without it.
        own = setup.backend and (*setup.backend.flags, "--log-level", "debug")
        reserve_bytes = setup.wanted_reserve_bytes
        return [
            *setup.plugin,
            *(own or self._simulated_flags()),
            *(() if reserve_bytes is None else ("--reserve", str(reserve_bytes))),
            *("--precision", str(setup.precision_kb)),
            *("--health-interval", str(setup.health_interval_seconds)),
            *("--kubelet-dir", str(self.kubelet.kubelet_dir)),
            *("--host-root", str(self._host_root)),
            *("--listen", setup.listen),
            *("--resource-name", setup.resource_name),
            *("--log-format", "json"),
        ]

    def _simulated_flags(self) -> list[str]:
        return [
            *("--backend", "simulated"),
            *("--backend-option", f"total={self.setup.total_bytes}"),
            *("--backend-option", "access=itrustee"),
            *("--backend-option", f"state={self.tee.state}"),
        ]


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without settings that would change what is played."""
    return {
        name: value for name, value in environment.items() if not name.startswith(_SETTINGS_PREFIX)
    }
