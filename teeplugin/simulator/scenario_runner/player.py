"""Plays a scenario on a stage, until its end or the first step that fails.

An action has to succeed, expectations to be met together before a deadline, and the plugin to run.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from teeplugin.simulator.scenario_runner.actions import Action, Done
from teeplugin.simulator.scenario_runner.expectations import Health, Refused
from teeplugin.simulator.scenario_runner.scenario import DEADLINE_SECONDS, Scenario, Step
from teeplugin.simulator.scenario_runner.trial import Trial
from teeplugin.simulator.stage import Stage

SKIPPED = "skipped: TEE isn't simulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a step; `note` tells what a container was handed, at the first that was."""

    number: int
    title: str
    expected: str
    seen: str
    ok: bool
    seconds: float
    note: str = ""


async def _at_once() -> None:
    """Wait for nothing before a step."""


async def play(
    scenario: Scenario,
    stage: Stage,
    tell: Callable[[Result], None],
    pace: Callable[[], Awaitable[None]] = _at_once,
) -> tuple[Step, Result] | None:
    """Play the steps, each after `pace`, telling of each; give the one that failed, or None.

    Raises:
        ConfigError: the plugin is no program that can be run.
    """
    noted = False
    for number, step in enumerate(scenario.steps, start=1):
        await pace()
        started = time.monotonic()
        await asyncio.sleep(step.after_seconds)
        trial = Trial.of(stage)
        title = step.title_now(trial.figures)
        parts = await _play_step(step, trial)
        note = next((part.note for part in parts if part.note), "")
        result = Result(
            number=number,
            title=title,
            expected=", ".join(part.expected for part in parts if part.expected),
            seen=", ".join(part.seen for part in parts if part.seen),
            ok=all(part.ok for part in parts),
            seconds=time.monotonic() - started,
            note="" if noted else note,
        )
        noted = noted or bool(note)
        tell(result)
        if not result.ok:
            return step, result
    return None


async def _play_step(step: Step, trial: Trial) -> list[Done]:
    """Do and look, up to the first thing that isn't as it should be."""
    if not trial.stage.tee.is_played and any(each.plays_the_tee for each in step.actions):
        return [Done(SKIPPED, SKIPPED)]
    parts: list[Done] = []
    for action in step.actions:
        parts.append(await _done(action, trial))
        if not parts[-1].ok:
            return parts
    expected_to_fail = {each.pod for each in step.expectations if isinstance(each, Refused)}
    for pod, words in trial.refused.items():
        if pod not in expected_to_fail:
            return [*parts, Done(f"{pod} admitted", words, ok=False)]
    trial.acted()
    parts.append(await _looked(step, trial))
    if parts[-1].ok and step.afterwards is not None:
        parts.append(await _done(step.afterwards, trial))
    return parts


async def _done(action: Action, trial: Trial) -> Done:
    """Do it within bounds: the kubelet itself has no deadline for a plugin that never answers."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await action.do(trial)
    except TimeoutError:
        title = action.title(trial.figures)
        return Done(title, f"not done within {DEADLINE_SECONDS:g} s", ok=False)


async def _looked(step: Step, trial: Trial) -> Done:
    """Wait for the expectations of a step, and tell what is seen in the end."""
    stage = trial.stage
    ends = any(each.ends_the_plugin for each in step.expectations)
    met = await _met(step, trial, or_else=lambda: bool(not ends and stage.plugin_end))
    expected = ", ".join(each.expected(trial) for each in step.expectations)
    seen = ", ".join(dict.fromkeys(each.seen(trial) for each in step.expectations))
    if [type(each) for each in step.expectations] == [Health]:
        expected, seen = f"{expected} healthy", f"{seen} healthy"
    if not met and stage.shortage_text:
        seen = f"{seen}; {stage.shortage_text}"
    if ends:
        stage.plugin_wanted = False
    elif stage.plugin_end:
        return Done(expected or "the plugin runs", stage.plugin_end, ok=False)
    return Done(expected, seen, ok=met)


async def _met(step: Step, trial: Trial, or_else: Callable[[], bool]) -> bool:
    """Wait until they are met together, and hold as long as they have to; or until all is lost."""

    def met() -> bool:
        return all(each.met(trial) for each in step.expectations)

    kubelet = trial.stage.kubelet
    try:
        await kubelet.wait_for(lambda: met() or or_else(), step.within_seconds)
    except TimeoutError:
        return False
    if step.holds_seconds and met():
        try:
            await kubelet.wait_for(lambda: not met(), step.holds_seconds)
        except TimeoutError:
            return True
    return met()
