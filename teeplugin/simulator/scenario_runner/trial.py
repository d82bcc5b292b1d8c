"""What one step of a scenario works on: the stage, and what was before."""

from dataclasses import dataclass, field
from typing import Self

from teeplugin.simulator.amounts import Figures
from teeplugin.simulator.stage import Stage


@dataclass(slots=True)
class Trial:
    """One step under way.

    `allocated` are the ids by pod as the step began, and those of pods that it had admitted;
    `refused` are the pods that the kubelet refused, with its words. `figures` are what expected
    numbers are worked out with, and `logged_before` is how many events the plugin had logged.
    """

    stage: Stage
    figures: Figures
    allocated: dict[str, frozenset[str]]
    logged_before: int
    refused: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """Begin a step."""
        allocated = dict(stage.kubelet.allocated())
        return cls(stage, stage.figures(), allocated, len(stage.timeline.events))

    def acted(self) -> None:
        """Take note that everything is done, and the expecting begins."""
        self.figures = self.stage.figures()

    def events(self) -> list[str]:
        """What the plugin has logged since the step began, by name."""
        return self.stage.timeline.events[self.logged_before :]
