"""What the steps of a scenario do: one class for each key."""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from teeplugin.simulator.admission import Admission, AdmissionError
from teeplugin.simulator.amounts import Figures, Memory, Units
from teeplugin.simulator.scenario_runner.trial import Trial
from teeplugin.simulator.stage import SHUTDOWN_SECONDS, Stage
from teeplugin_backends.base import ContainerAccess

PROBE = "next"
"""The pod that is only tried: no other may have its name."""


_LONG = ("TEE_RAM_UNITS_", "TEE_RAM_UNIT_BYTES_", "TEE_RAM_BYTES_")
"""How the variables begin that end with the resource's name."""


@dataclass(frozen=True, slots=True)
class Done:
    """What an action has to achieve by itself and what it did, in words; `note` tells more."""

    expected: str = ""
    seen: str = ""
    ok: bool = True
    note: str = ""


class Action(ABC):
    """One thing that is done to the simulated node."""

    plays_the_tee = False
    """Whether it needs the simulated TEE."""

    @abstractmethod
    def title(self, figures: Figures) -> str:
        """Name it, for the steps that have no title of their own."""

    @abstractmethod
    async def do(self, trial: Trial) -> Done:
        """Do it, now."""


class Verb(StrEnum):
    """What can be done to kubelet and plugin."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    RESTART = "restart"
    HANG_UP = "hang-up"


KUBELET_VERBS = (Verb.START, Verb.STOP, Verb.KILL, Verb.RESTART)
PLUGIN_VERBS = (*KUBELET_VERBS, Verb.HANG_UP)


@dataclass(frozen=True, slots=True)
class KubeletAction(Action):
    """Starts or ends the kubelet."""

    verb: Verb

    def title(self, figures: Figures) -> str:
        """Name it."""
        del figures
        return f"{self.verb} the kubelet"

    async def do(self, trial: Trial) -> Done:
        """Do it; a start has to leave its socket."""
        kubelet = trial.stage.kubelet
        doing: Mapping[Verb, Callable[[], Awaitable[None]]] = {
            Verb.START: kubelet.start,
            Verb.STOP: kubelet.stop,
            Verb.KILL: kubelet.kill,
            Verb.RESTART: trial.stage.restart_kubelet,
        }
        await doing[self.verb]()
        if self.verb is not Verb.START:
            return Done()
        there = kubelet.socket.is_socket()
        expected = "kubelet.sock is there"
        return Done(expected, expected if there else "no kubelet.sock", there)


@dataclass(frozen=True, slots=True)
class PluginAction(Action):
    """Starts, ends or signals the plugin."""

    verb: Verb

    def title(self, figures: Figures) -> str:
        """Name it; an end by its signal."""
        del figures
        signals = {Verb.STOP: "SIGTERM", Verb.KILL: "SIGKILL", Verb.HANG_UP: "SIGHUP"}
        if self.verb in signals:
            return f"{signals[self.verb]} to the plugin"
        return f"{self.verb} the plugin"

    async def do(self, trial: Trial) -> Done:
        """Do it; asked to end it has to, with 0 and without leaving its socket."""
        stage, done = trial.stage, Done()
        match self.verb:
            case Verb.KILL:
                await stage.kill_plugin()
            case Verb.HANG_UP:
                stage.hang_up_plugin()
            case Verb.STOP | Verb.RESTART:
                done = await _stopped(stage)
        if self.verb is Verb.RESTART and done.ok:
            done = Done()
        if self.verb in (Verb.START, Verb.RESTART) and done.ok:
            await stage.start_plugin()
        return done


async def _stopped(stage: Stage) -> Done:
    expected = "exit 0, socket gone"
    if not await stage.stop_plugin() or stage.plugin is None:
        return Done(expected, f"still runs after {SHUTDOWN_SECONDS:g} s", ok=False)
    left = stage.plugin_sockets()
    socket = f"{', '.join(left)} is left" if left else "socket gone"
    code = stage.plugin.exit_code
    return Done(expected, f"exit {code}, {socket}", ok=code == 0 and not left)


@dataclass(frozen=True, slots=True)
class TeeAction(Action):
    """Plays the TEE; None stays as it is."""

    plays_the_tee = True
    total: Memory | None = None
    others: Memory | None = None
    latency_seconds: float | None = None
    fault: str | None = None

    def title(self, figures: Figures) -> str:
        """Name what is new."""
        words = []
        if self.total is not None:
            words.append(f"the TEE has {self.total.text(figures)}")
        if self.others is not None:
            words.append(f"others use {self.others.text(figures)}")
        if self.latency_seconds is not None:
            words.append(f"the TEE takes {self.latency_seconds:g} s")
        if self.fault is not None:
            words.append(f"the TEE: {self.fault}")
        return ", ".join(words)

    async def do(self, trial: Trial) -> Done:
        """Have it so from the next query on."""
        figures = trial.stage.figures()
        trial.stage.tee.play(
            total_bytes=None if self.total is None else self.total.bytes(figures),
            others_bytes=None if self.others is None else self.others.bytes(figures),
            latency_seconds=self.latency_seconds,
            fault=self.fault,
        )
        return Done()


@dataclass(frozen=True, slots=True)
class MissingAction(Action):
    """Has only these paths, of those that containers are promised, be missing on the node."""

    plays_the_tee = True
    missing: tuple[str, ...]

    def title(self, figures: Figures) -> str:
        """Name them."""
        del figures
        return f"{', '.join(self.missing) or 'nothing'} missing on the node"

    async def do(self, trial: Trial) -> Done:
        """Take away and put back."""
        trial.stage.set_missing(self.missing)
        return Done()


@dataclass(frozen=True, slots=True)
class AdmitAction(Action):
    """Has pods admitted; `uses` is what a pod's TAs take, if not all that the pod has asked for.

    A refusal is noted in the trial; whether it was expected is the player's to say.
    """

    pods: Mapping[str, Units]
    uses: Mapping[str, Memory]

    def title(self, figures: Figures) -> str:
        """Name their sizes."""
        sizes = [str(units.count(figures)) for units in self.pods.values()]
        return f"admit a pod of {sizes[0]}" if len(sizes) == 1 else f"admit {len(sizes)} pods"

    async def do(self, trial: Trial) -> Done:
        """Admit one after the other; each container has to be handed all that it needs."""
        stage, ids, note = trial.stage, 0, ""
        for pod, units in self.pods.items():
            figures = stage.figures()
            uses = self.uses[pod].bytes(figures) if pod in self.uses else None
            count = units.count(figures)
            try:
                admission = await stage.admit(pod, count, uses)
            except AdmissionError as error:
                trial.refused[pod] = str(error)
                continue
            trial.allocated[pod] = admission.ids
            ids, note = ids + len(admission.ids), handed_text(admission)
            missing = _missing(admission, count, stage.setup.unit_bytes, stage.setup.access)
            if missing:
                return Done(f"{count} ids and the TEE access", missing, ok=False, note=note)
        text = f"{ids} ids and the TEE access" if ids else ""
        return Done(text, text, note=note)


def _missing(admission: Admission, units: int, unit_bytes: int, access: ContainerAccess) -> str:
    """What the container should have been handed and wasn't; empty if nothing."""
    wanted = {
        **access.environment,
        "TEE_RAM_UNITS": str(units),
        "TEE_RAM_UNIT_BYTES": str(unit_bytes),
        "TEE_RAM_BYTES": str(units * unit_bytes),
    }
    wanted_mounts = {(one.host_path, one.container_path, one.read_only) for one in access.mounts}
    wanted_devices = {
        (one.host_path, one.container_path, one.permissions) for one in access.devices
    }
    mounts = {(one.host_path, one.container_path, one.read_only) for one in admission.mounts}
    devices = {(one.host_path, one.container_path, one.permissions) for one in admission.devices}
    missing = [
        f"{key}={value}" for key, value in wanted.items() if admission.envs.get(key) != value
    ]
    missing += [f"mount {host}" for host, *_ in sorted(wanted_mounts - mounts)]
    missing += [f"device {host}" for host, *_ in sorted(wanted_devices - devices)]
    return f"missing in the allocation: {', '.join(missing)}" if missing else ""


def handed_text(admission: Admission) -> str:
    """What the container was handed, in one sentence."""
    parts = [
        f"mount {one.container_path} {'read-only' if one.read_only else 'read-write'}"
        for one in admission.mounts
    ]
    parts += [f"device {one.container_path} {one.permissions}" for one in admission.devices]
    # The same figures are there under longer names, which end with the resource's.
    plain = {key: value for key, value in admission.envs.items() if not key.startswith(_LONG)}
    parts += [f"{key}={value}" for key, value in sorted(plain.items())]
    if longer := sorted(admission.envs.keys() - plain.keys()):
        parts.append(f"also as {', '.join(longer)}")
    return f"given to the container: {', '.join(parts) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class RemoveAction(Action):
    """Ends pods."""

    pods: tuple[str, ...]

    def title(self, figures: Figures) -> str:
        """Name them."""
        del figures
        return f"remove {', '.join(self.pods)}"

    async def do(self, trial: Trial) -> Done:
        """End one after the other."""
        for pod in self.pods:
            await trial.stage.remove(pod)
        return Done()


@dataclass(frozen=True, slots=True)
class UseAction(Action):
    """Has the TAs of pods use so much memory."""

    plays_the_tee = True
    pods: Mapping[str, Memory]

    def title(self, figures: Figures) -> str:
        """Name how much."""
        return ", ".join(f"{pod} uses {memory.text(figures)}" for pod, memory in self.pods.items())

    async def do(self, trial: Trial) -> Done:
        """Have it so from the next query on."""
        for pod, memory in self.pods.items():
            trial.stage.tee.use(pod, memory.bytes(trial.stage.figures()))
        return Done()


@dataclass(frozen=True, slots=True)
class FitsAction(Action):
    """Sees whether a pod of so many units would be admitted; done last of all in a step."""

    units: Units

    def title(self, figures: Figures) -> str:
        """Name its size."""
        return f"try a pod of {self.units.count(figures)}"

    async def do(self, trial: Trial) -> Done:
        """Admit it and remove it again."""
        try:
            await trial.stage.admit(PROBE, self.units.count(trial.figures))
        except AdmissionError as error:
            return Done("next pod fits", f"next pod: {error}", ok=False)
        await trial.stage.remove(PROBE)
        return Done("next pod fits", "next pod fits")
