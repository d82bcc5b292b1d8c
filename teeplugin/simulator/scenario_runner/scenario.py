"""What a scenario is: a simulated node, and steps that are done to it, as models of its YAML file.

A new thing to do or to expect is a class in `actions` or `expectations`, a field of `Step` or
`Expect`, and a row of `ACTIONS` or `EXPECTATIONS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BeforeValidator, Field, model_validator

from teeplugin.policy.units import KIB, MAX_UNITS, MIN_PRECISION_KB
from teeplugin.simulator.amounts import ALL, Figures
from teeplugin.simulator.kubelet import DEFAULT_RESOURCE
from teeplugin.simulator.profile import MODERN, NEWEST, OLD, Profile
from teeplugin.simulator.scenario_runner import actions, expectations, values
from teeplugin.simulator.scenario_runner.actions import KUBELET_VERBS, PLUGIN_VERBS, Action, Verb
from teeplugin.simulator.scenario_runner.expectations import Expectation
from teeplugin.simulator.scenario_runner.values import UNSET, Entry, Part, one_of
from teeplugin.simulator.stage import HEALTH_INTERVAL_SECONDS, NODE_PATHS
from teeplugin.simulator.tee_control import FAULTS, NO_FAULT

DEFAULT_TOTAL_BYTES = 64 * KIB**2
DEADLINE_SECONDS = 10.0
"""How long the expectations of a step are waited for, unless it says otherwise."""

SHIPPED = Path(__file__).parents[1] / "scenarios"
"""Where the scenarios are that come with the plugin; each is known by its file's name."""

TOUR = "tour"

_PROFILES = {profile.version: profile for profile in (NEWEST, MODERN, OLD)}
_NOTHING = "none"
_NOT_A_PATH = "not a path that containers need"


class _Tee(Part):
    total: values.MemoryText = UNSET
    others: values.MemoryText = UNSET
    latency: values.Seconds = UNSET
    fault: Annotated[str, one_of(NO_FAULT, *FAULTS)] = UNSET

    def action(self) -> Action:
        return actions.TeeAction(self.total, self.others, self.latency, self.fault)


class _Pod(Part):
    units: values.UnitsText = UNSET
    uses: values.MemoryText = UNSET

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.units is UNSET:
            self._entry.refuse("units: is missing: write `units: 10`")
        return self


def _pod(entry: Entry) -> Entry | dict[str, Entry]:
    """Take units alone for a pod."""
    return entry if isinstance(entry.node, yaml.MappingNode) else {"units": entry}


def _paths(entry: Entry) -> list[Entry]:
    items = entry.items()
    return [] if [each.node.value for each in items] == [_NOTHING] else items


def _steps(entry: Entry) -> list[Entry]:
    if not isinstance(entry.node, yaml.SequenceNode) or not entry.node.value:
        entry.refuse("must be a list of steps: begin each with `- `")
    return [replace(each, key="a step") for each in entry.items()]


def _admit(pods: Mapping[str, _Pod]) -> Action:
    return actions.AdmitAction(
        {name: pod.units for name, pod in pods.items()},
        {name: pod.uses for name, pod in pods.items() if pod.uses is not UNSET},
    )


ACTIONS: Mapping[str, Callable[[Any], Action]] = {
    "kubelet": actions.KubeletAction,
    "plugin": actions.PluginAction,
    "tee": _Tee.action,
    "missing": actions.MissingAction,
    "admit": _admit,
    "remove": actions.RemoveAction,
    "use": actions.UseAction,
}
EXPECTATIONS: Mapping[str, Callable[[Any], Expectation]] = {
    "registered": expectations.Registered,
    "healthy": expectations.Health,
    "listed": expectations.Listed,
    "free": expectations.Free,
    "keeps": expectations.Keeps,
    "restarts": expectations.Restarts,
    "refused": expectations.Refused,
    "logged": expectations.Logged,
    "exit": expectations.Exit,
}


class Expect(Part):
    """What has to be seen; `fits` is tried last of all."""

    registered: Annotated[bool, one_of("yes", "true", "no", "false")] = UNSET
    healthy: values.UnitsText = UNSET
    listed: values.UnitsText = ALL
    free: values.UnitsText = UNSET
    keeps: values.Words = ()
    restarts: values.Words = ()
    refused: values.Words = ()
    logged: values.Words = ()
    exit: Annotated[int, values.whole(0, 255, "not an exit status")] = UNSET
    fits: values.UnitsText = UNSET

    def expectations(self) -> Sequence[Expectation]:
        """All but `fits`, in the order of the file."""
        found: list[Expectation] = []
        for key in self._written:
            value = getattr(self, key)
            if key == "healthy":
                found.append(expectations.Health(value, self.listed))
            elif key in EXPECTATIONS and not (key == "listed" and "healthy" in self._written):
                found += map(EXPECTATIONS[key], value if isinstance(value, tuple) else [value])
        return found


class Step(Part):
    """One step: after `after_seconds` its actions are done, then its expectations waited for.

    They have to hold together, for `holds_seconds`; then `afterwards` is done.
    """

    title: values.Text = Field(default="", alias="step")
    after_seconds: values.Seconds = Field(default=0.0, alias="after")
    within_seconds: values.Seconds = Field(default=DEADLINE_SECONDS, alias="within")
    holds_seconds: values.Seconds = Field(default=0.0, alias="holds")
    kubelet: Annotated[Verb, one_of(*KUBELET_VERBS)] = UNSET
    plugin: Annotated[Verb, one_of(*PLUGIN_VERBS)] = UNSET
    tee: _Tee = UNSET
    missing: Annotated[
        tuple[Annotated[str, one_of(*NODE_PATHS, fault=_NOT_A_PATH, also=_NOTHING)], ...],
        BeforeValidator(_paths),
    ] = ()
    admit: Annotated[
        dict[str, Annotated[_Pod, BeforeValidator(_pod)]], BeforeValidator(Entry.mapping)
    ] = UNSET
    remove: values.Words = ()
    use: Annotated[dict[str, values.MemoryText], BeforeValidator(Entry.mapping)] = UNSET
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if not {*ACTIONS, "expect"} & {*self._written}:
            keys = ", ".join((*ACTIONS, "expect"))
            self._entry.refuse(f"does and expects nothing: write one of {keys}")
        return self

    @property
    def line(self) -> int:
        """The line that it begins in."""
        return self._entry.line

    @property
    def actions(self) -> Sequence[Action]:
        """What it does, in the order of the file."""
        return [ACTIONS[key](getattr(self, key)) for key in self._written if key in ACTIONS]

    @property
    def expectations(self) -> Sequence[Expectation]:
        """What has to be seen then."""
        return self.expect.expectations()

    @property
    def afterwards(self) -> Action | None:
        """What is done last of all."""
        fits = self.expect.fits
        return None if fits is UNSET else actions.FitsAction(fits)

    def title_now(self, figures: Figures) -> str:
        """Name it: by its title, or else by what it does."""
        named = ", ".join(action.title(figures) for action in self.actions)
        return self.title or named or "look"


class _Kubelet(Part):
    version: Annotated[str, one_of(*_PROFILES)] = MODERN.version
    listen_delay: values.Seconds = Field(default=0.0, alias="listen-delay")
    records_delay: values.Seconds = Field(default=0.0, alias="records-delay")


class Scenario(Part):
    """A node and what happens on it; it needs `needs_units` units to make sense."""

    description: values.Text = ""
    needs_units: Annotated[int, values.whole(1, MAX_UNITS, "not a number of units")] = Field(
        default=1, alias="needs"
    )
    total_bytes: values.Bytes = Field(default=DEFAULT_TOTAL_BYTES, alias="total")
    precision_kb: Annotated[int, values.setting("precision")] = Field(
        default=MIN_PRECISION_KB, alias="precision"
    )
    reserve_bytes: Annotated[int, values.setting("reserve")] = Field(default=UNSET, alias="reserve")
    resource_name: Annotated[str, values.setting("resource-name")] = Field(
        default=DEFAULT_RESOURCE, alias="resource-name"
    )
    health_interval_seconds: Annotated[float, values.setting("health-interval")] = Field(
        default=HEALTH_INTERVAL_SECONDS, alias="health-interval"
    )
    kubelet: _Kubelet = _Kubelet()
    steps: Annotated[list[Step], BeforeValidator(_steps)] = UNSET
    name: str = Field(default="", exclude=True)

    @property
    def profile(self) -> Profile:
        """The kubelet that is simulated."""
        return replace(
            _PROFILES[self.kubelet.version],
            listen_delay_seconds=self.kubelet.listen_delay,
            sources_ready_seconds=self.kubelet.records_delay,
        )


def shipped_names() -> list[str]:
    """The scenarios that come with the plugin, the tour first."""
    names = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
    return sorted(names, key=lambda name: name != TOUR)
