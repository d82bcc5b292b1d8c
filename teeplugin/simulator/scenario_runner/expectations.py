"""What the steps of a scenario expect: one class for each key.

An expectation looks at the stage and has no clock: the player waits for it, with a deadline.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from teeplugin.simulator.amounts import ALL, Units
from teeplugin.simulator.events import EventKind
from teeplugin.simulator.scenario_runner.trial import Trial


class Expectation(ABC):
    """Something that is to be seen once the actions of a step are done."""

    ends_the_plugin: ClassVar[bool] = False
    """Whether the plugin is to end, which is a failure otherwise."""

    @abstractmethod
    def expected(self, trial: Trial) -> str:
        """Write what should be seen."""

    @abstractmethod
    def seen(self, trial: Trial) -> str:
        """Write what is seen."""

    def met(self, trial: Trial) -> bool:
        """Look whether it is so: whether the two texts are the same, where that tells."""
        return self.seen(trial) == self.expected(trial)


@dataclass(frozen=True, slots=True)
class Registered(Expectation):
    """The kubelet watches the plugin's list, or doesn't."""

    wanted: bool

    def expected(self, trial: Trial) -> str:
        """Name the resource."""
        return f"{trial.stage.kubelet.resource} {'' if self.wanted else 'not '}registered"

    def seen(self, trial: Trial) -> str:
        """Name the socket that it was registered by, or what was in the way."""
        events = trial.stage.kubelet.events
        if trial.stage.registered:
            sockets = [event.endpoint for event in events if event.kind is EventKind.REGISTERED]
            return f"by {sockets[-1]}"
        if events and events[-1].kind is EventKind.REGISTRATION_REFUSED:
            return f"refused: {events[-1].text}"
        return "no registration"

    def met(self, trial: Trial) -> bool:
        """Look at the stream."""
        return trial.stage.registered is self.wanted


@dataclass(frozen=True, slots=True)
class Health(Expectation):
    """So many units are healthy, of so many that the node shows."""

    healthy: Units
    listed: Units = ALL

    def expected(self, trial: Trial) -> str:
        """Write both numbers."""
        figures = trial.figures
        return f"{self.healthy.count(figures)} of {self.listed.count(figures)}"

    def seen(self, trial: Trial) -> str:
        """Write both numbers."""
        kubelet = trial.stage.kubelet
        return f"{kubelet.allocatable()} of {kubelet.capacity()}"


@dataclass(frozen=True, slots=True)
class Listed(Expectation):
    """The node shows so many units, healthy or not."""

    listed: Units

    def expected(self, trial: Trial) -> str:
        """Write the number."""
        return f"{self.listed.count(trial.figures)} listed"

    def seen(self, trial: Trial) -> str:
        """Write the number."""
        return f"{trial.stage.kubelet.capacity()} listed"


@dataclass(frozen=True, slots=True)
class Free(Expectation):
    """So many healthy units are allocated by no pod."""

    units: Units

    def expected(self, trial: Trial) -> str:
        """Write the number."""
        return f"{self.units.count(trial.figures)} free"

    def seen(self, trial: Trial) -> str:
        """Write the number."""
        return f"{len(trial.stage.kubelet.free_ids())} free"


@dataclass(frozen=True, slots=True)
class Keeps(Expectation):
    """A pod holds the very units that it held before, and those only."""

    pod: str

    def expected(self, trial: Trial) -> str:
        """Write how many they were."""
        return f"{self.pod} keeps {len(trial.allocated[self.pod])}"

    def seen(self, trial: Trial) -> str:
        """Write how many of them it still holds, and how many it has got instead."""
        now = trial.stage.kubelet.allocated().get(self.pod, frozenset())
        others = len(now - trial.allocated[self.pod])
        kept = f"{self.pod} keeps {len(now & trial.allocated[self.pod])}"
        return f"{kept} and got {others} others" if others else kept


@dataclass(frozen=True, slots=True)
class Restarts(Expectation):
    """The kubelet would start a pod's container again: its units are healthy."""

    pod: str

    def expected(self, trial: Trial) -> str:
        """Say so."""
        del trial
        return f"{self.pod} can restart"

    def seen(self, trial: Trial) -> str:
        """Count those that aren't."""
        kubelet = trial.stage.kubelet
        unhealthy = len(kubelet.allocated().get(self.pod, frozenset()) - kubelet.healthy_ids())
        if unhealthy:
            return f"{unhealthy} units of {self.pod} are unhealthy"
        return f"{self.pod} can restart"


@dataclass(frozen=True, slots=True)
class Refused(Expectation):
    """The kubelet has refused a pod of this step."""

    pod: str

    def expected(self, trial: Trial) -> str:
        """Say so."""
        del trial
        return "refused"

    def seen(self, trial: Trial) -> str:
        """Say what became of it."""
        return "refused" if self.pod in trial.refused else "admitted"


@dataclass(frozen=True, slots=True)
class Logged(Expectation):
    """The plugin has logged an event since the step began."""

    event: str

    def expected(self, trial: Trial) -> str:
        """Name it."""
        del trial
        return f"logs {self.event}"

    def seen(self, trial: Trial) -> str:
        """Name it, or what was logged instead."""
        events = trial.events()
        if self.event in events:
            return f"logs {self.event}"
        return f"logs {', '.join(dict.fromkeys(events)) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Exit(Expectation):
    """The plugin ends by itself, with this status."""

    status: int
    ends_the_plugin: ClassVar[bool] = True

    def expected(self, trial: Trial) -> str:
        """Write the status."""
        del trial
        return f"exit {self.status}"

    def seen(self, trial: Trial) -> str:
        """Write the status, if it has ended."""
        plugin = trial.stage.plugin
        if plugin is None or plugin.exit_code is None:
            return "the plugin runs"
        return f"exit {plugin.exit_code}"
