"""What a scenario is: a simulated node, and steps that are done to it; made by reading."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teeplugin.policy.units import KIB, MIN_PRECISION_KB
from teeplugin.simulator.amounts import Figures
from teeplugin.simulator.playing.actions import Action
from teeplugin.simulator.playing.expectations import Expectation
from teeplugin.simulator.profile import MODERN, Profile
from teeplugin.simulator.stage import HEALTH_INTERVAL_SECONDS

DEFAULT_TOTAL_BYTES = 64 * KIB**2
DEADLINE_SECONDS = 10.0
"""How long the expectations of a step are waited for, unless it says otherwise."""

SHIPPED = Path(__file__).parents[1] / "scenarios"
"""Where the scenarios are that come with the plugin; each is known by its file's name."""

TOUR = "tour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: after `after_seconds` its actions are done, then its expectations waited for.

    They have to hold together, for `holds_seconds`; then `afterwards` is done. `line` is where the
    step begins in its file.
    """

    line: int
    title: str
    after_seconds: float = 0.0
    actions: Sequence[Action] = ()
    expectations: Sequence[Expectation] = ()
    within_seconds: float = DEADLINE_SECONDS
    holds_seconds: float = 0.0
    afterwards: Action | None = None

    def title_now(self, figures: Figures) -> str:
        """Name it: by its title, or else by what it does."""
        named = ", ".join(action.title(figures) for action in self.actions)
        return self.title or named or "look"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A node and what happens on it; it needs `needs_units` units to make sense."""

    name: str
    description: str
    steps: Sequence[Step]
    needs_units: int = 1
    total_bytes: int = DEFAULT_TOTAL_BYTES
    precision_kb: int = MIN_PRECISION_KB
    reserve_bytes: int = 0
    health_interval_seconds: float = HEALTH_INTERVAL_SECONDS
    profile: Profile = MODERN


def shipped_names() -> list[str]:
    """The scenarios that come with the plugin, the tour first."""
    names = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    return sorted(names, key=lambda name: name != TOUR)
