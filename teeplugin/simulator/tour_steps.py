"""What the tour plays, step by step: each step does something and says what it saw."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from teeplugin.simulator.admission import Admission, AdmissionError, ContainerStartError
from teeplugin.simulator.child import PluginProcess
from teeplugin.simulator.events import EventKind
from teeplugin.simulator.kubelet import SimulatedKubelet
from teeplugin.simulator.tour_options import POD_UNITS, TourOptions

_READY_SECONDS = 10.0
_NOTICED_SECONDS = 5.0
_SHUTDOWN_SECONDS = 2.0
_MOST_UNITS_ADMITTED = 1000
_POD = "ca"

_MOUNTS = {("/var/itrustee/teecd", "/var/itrustee/teecd", True)}
_DEVICES = {("/dev/teelog", "/dev/teelog", "rw"), ("/dev/tc_ns_cvm", "/dev/tc_ns_cvm", "rw")}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a step saw, whether it is what was expected, and more to tell about it."""

    text: str
    ok: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, what is expected, and the doing."""

    title: str
    expected: str
    play: Callable[[], Awaitable[Seen]]


class Tour:
    """The steps over one kubelet, one plugin and one simulated TEE."""

    def __init__(
        self, options: TourOptions, kubelet: SimulatedKubelet, plugin: PluginProcess, state: Path
    ) -> None:
        self._kubelet = kubelet
        self._plugin = plugin
        self._state = state
        self._options = options
        self._units = options.units
        self._too_many = self._units - POD_UNITS + 1

    def steps(self) -> Sequence[Step]:
        """All steps in their order."""
        units, free = self._units, self._units - POD_UNITS
        all_with_pod = f"{units} of {units}, pod keeps {POD_UNITS}"
        return (
            Step("start the kubelet", "kubelet.sock is there", self._start_kubelet),
            Step("start the plugin", f"{self._kubelet.resource} registered", self._start_plugin),
            Step("list the units", f"{units} of {units} healthy", self._list),
            Step(f"admit a pod of {POD_UNITS}", f"{POD_UNITS} ids and the TEE access", self._admit),
            Step(f"admit a pod of {self._too_many}", f"refused, {free} free", self._refuse),
            Step("the TEE fails", f"0 of {units}, pod keeps {POD_UNITS}", self._fail),
            Step("the TEE recovers", all_with_pod, self._recover),
            Step("the kubelet restarts", all_with_pod, self._restart),
            Step("the pod goes", f"{units} free, next pod fits", self._remove),
            Step("SIGTERM to the plugin", "exit 0, socket gone", self._shut_down),
        )

    async def _start_kubelet(self) -> Seen:
        await self._kubelet.start()
        there = self._kubelet.socket.is_socket()
        return Seen("kubelet.sock is there" if there else "no kubelet.sock", there)

    async def _start_plugin(self) -> Seen:
        await self._plugin.start()
        registered = await self._reached(lambda: self._registrations() > 0)
        if not registered:
            refused = [
                event.text
                for event in self._kubelet.events
                if event.kind is EventKind.REGISTRATION_REFUSED
            ]
            return Seen(f"refused: {refused[-1]}" if refused else self._silence(), ok=False)
        return Seen(f"by {self._last(EventKind.REGISTERED)}", ok=True)

    async def _list(self) -> Seen:
        ok = await self._reached(self._all_healthy)
        return Seen(f"{self._health()} healthy", ok)

    async def _admit(self) -> Seen:
        try:
            admission = await self._kubelet.admit(_POD, POD_UNITS)
        except AdmissionError as error:
            return Seen(str(error), ok=False)
        missing = self._missing(admission)
        if missing:
            return Seen(missing, ok=False, note=_handed(admission))
        return Seen(
            f"{len(admission.ids)} ids and the TEE access", ok=True, note=_handed(admission)
        )

    async def _refuse(self) -> Seen:
        try:
            await self._kubelet.admit("too-large", self._too_many)
        except AdmissionError:
            free = len(self._kubelet.free_ids())
            return Seen(f"refused, {free} free", free == self._units - POD_UNITS)
        return Seen("admitted", ok=False)

    async def _fail(self) -> Seen:
        held = self._kubelet.held()
        self.set_fault("unreachable")
        reached = await self._reached(lambda: self._kubelet.allocatable() == 0, _NOTICED_SECONDS)
        return self._seen_with_pod(held, reached and self._kubelet.capacity() == self._units)

    async def _recover(self) -> Seen:
        held = self._kubelet.held()
        self.set_fault("none")
        return self._seen_with_pod(held, await self._reached(self._all_healthy, _NOTICED_SECONDS))

    async def _restart(self) -> Seen:
        held, before = self._kubelet.held(), self._registrations()
        await self._kubelet.stop()
        await self._kubelet.start()
        again = await self._reached(lambda: self._registrations() > before)
        if not again:
            return Seen(self._silence(), ok=False)
        healthy = await self._reached(self._all_healthy)
        try:
            await self._kubelet.restart_container(_POD)
        except ContainerStartError as error:
            return Seen(f"{self._health()}, pod: {error}", ok=False)
        return self._seen_with_pod(held, healthy)

    async def _remove(self) -> Seen:
        await self._kubelet.remove(_POD)
        free = len(self._kubelet.free_ids())
        try:
            await self._kubelet.admit("next", min(self._too_many, _MOST_UNITS_ADMITTED))
        except AdmissionError as error:
            return Seen(f"{free} free, next pod: {error}", ok=False)
        await self._kubelet.remove("next")
        return Seen(f"{free} free, next pod fits", free == self._units)

    async def _shut_down(self) -> Seen:
        self._plugin.terminate()
        if not await self._plugin.exited_within(_SHUTDOWN_SECONDS):
            return Seen(f"still runs after {_SHUTDOWN_SECONDS:g} s", ok=False)
        left = [
            path.name
            for path in self._kubelet.device_plugins_dir.iterdir()
            if path.is_socket() and path != self._kubelet.socket
        ]
        socket = f"{', '.join(left)} is left" if left else "socket gone"
        code = self._plugin.exit_code
        return Seen(f"exit {code}, {socket}", ok=code == 0 and not left)

    def set_fault(self, fault: str) -> None:
        """Tell the simulated TEE what to play; the file is replaced whole."""
        draft = self._state.with_suffix(".new")
        draft.write_text(f"total={self._options.total_bytes}\nfault={fault}\n")
        draft.replace(self._state)

    async def _reached(
        self, condition: Callable[[], bool], deadline_seconds: float = _READY_SECONDS
    ) -> bool:
        """Wait for it; False once it is too late, or the plugin has ended before."""
        try:
            await self._kubelet.wait_for(
                lambda: condition() or self._plugin.exit_code is not None,
                deadline_seconds,
            )
        except TimeoutError:
            return False
        return condition()

    def _registrations(self) -> int:
        return self._kubelet.log.count(EventKind.REGISTERED)

    def _last(self, kind: EventKind) -> str:
        return [event.endpoint for event in self._kubelet.events if event.kind is kind][-1]

    def _all_healthy(self) -> bool:
        return self._kubelet.allocatable() == self._kubelet.capacity() == self._units

    def _health(self) -> str:
        return f"{self._kubelet.allocatable()} of {self._kubelet.capacity()}"

    def _silence(self) -> str:
        code = self._plugin.exit_code
        if code is not None:
            return f"the plugin ended with exit {code}"
        return f"no registration in {_READY_SECONDS:g} s"

    def _seen_with_pod(self, held: dict[str, frozenset[str]], ok: bool) -> Seen:
        code = self._plugin.exit_code
        if code is not None:
            return Seen(f"the plugin ended with exit {code}", ok=False)
        now = self._kubelet.held()
        kept = len(held[_POD] & now.get(_POD, frozenset()))
        return Seen(f"{self._health()}, pod keeps {kept}", ok and now == held)

    def _missing(self, admission: Admission) -> str:
        """What the container should have been handed and wasn't; empty if nothing."""
        wanted = {
            "TEE_RAM_UNITS": str(POD_UNITS),
            "TEE_RAM_UNIT_BYTES": str(self._options.unit_bytes),
            "TEE_RAM_BYTES": str(POD_UNITS * self._options.unit_bytes),
        }
        mounts = {(one.host_path, one.container_path, one.read_only) for one in admission.mounts}
        devices = {
            (one.host_path, one.container_path, one.permissions) for one in admission.devices
        }
        missing = [
            f"{key}={value}" for key, value in wanted.items() if admission.envs.get(key) != value
        ]
        missing += [f"mount {host}" for host, *_ in sorted(_MOUNTS - mounts)]
        missing += [f"device {host}" for host, *_ in sorted(_DEVICES - devices)]
        return f"not handed out: {', '.join(missing)}" if missing else ""


def _handed(admission: Admission) -> str:
    """What the container was handed, in one sentence."""
    parts = [
        f"mount {one.container_path} {'read-only' if one.read_only else 'read-write'}"
        for one in admission.mounts
    ]
    parts += [f"device {one.container_path} {one.permissions}" for one in admission.devices]
    parts += [f"{key}={value}" for key, value in sorted(admission.envs.items())]
    return f"handed to the container: {', '.join(parts) or 'nothing'}"
