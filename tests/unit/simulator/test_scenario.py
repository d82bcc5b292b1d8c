"""A scenario is played as it is written: what it does, how long it waits, and how it fails."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import anyio
import pytest
from grpclib.exceptions import GRPCError

from teeplugin.config.given import Given
from teeplugin.simulator.scenario_runner.expectations import (
    Expectation,
    Keeps,
    Logged,
    Refused,
    Registered,
    Restarts,
)
from teeplugin.simulator.scenario_runner.player import Result, play
from teeplugin.simulator.scenario_runner.reading import read_scenario
from teeplugin.simulator.scenario_runner.trial import Trial
from teeplugin.simulator.stage import NODE_PATHS, Setup, Stage
from tests.unit.simulator.stub_plugin import Plugin, frame, serving

pytestmark = pytest.mark.anyio

MIB = 1024**2


@asynccontextmanager
async def staged(directory: Path) -> AsyncIterator[tuple[Stage, Plugin]]:
    """A stage whose kubelet runs, and a plugin of this process that lists 8 units to it."""
    stage = Stage(
        Setup(total_bytes=4 * MIB, precision_kb=512, plugin=(sys.executable, "-c", "")), directory
    )
    await stage.kubelet.start()
    try:
        async with serving(stage.kubelet) as plugin:
            await plugin.register()
            await plugin.listed(frame(range(8)))
            yield stage, plugin
    finally:
        await stage.close()


async def played(stage: Stage, directory: Path, steps: str) -> list[Result]:
    """Play steps on a stage whose kubelet runs already."""
    path = directory / "scenario.yaml"
    path.write_text(f"steps:\n{steps}")
    scenario = read_scenario(Given(str(path), origin="", place="", spelling=""))
    results: list[Result] = []
    failed = await play(scenario, stage, results.append)
    assert (failed is not None) is (not results[-1].ok)
    return results


# Waiting


async def test_an_expectation_is_waited_for(scratch: Path) -> None:
    async with staged(scratch) as (stage, plugin):
        await stage.kubelet.admit("before", 1)
        plugin.lists.put_nowait(frame(range(6), range(6, 8)))
        (result,) = await played(stage, scratch, "  - expect: {healthy: 6, listed: 8}\n")
    assert (result.ok, result.expected, result.seen) == (
        True,
        "6 of 8 healthy",
        "6 of 8 healthy",
    )


async def test_a_deadline_ends_the_waiting_and_tells_what_was_seen(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        began = monotonic()
        (result,) = await played(stage, scratch, "  - {expect: {healthy: 3}, within: 0.2}\n")
        assert 0.2 <= monotonic() - began < 5
    assert not result.ok
    assert (result.expected, result.seen) == ("3 of 8 healthy", "8 of 8 healthy")
    assert result.seconds >= 0.2


async def test_expectations_have_to_be_met_together(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(
            stage, scratch, "  - {expect: {healthy: 8, free: 7}, within: 0.1}\n"
        )
    assert (result.expected, result.seen) == ("8 of 8, 7 free", "8 of 8, 8 free")


async def test_what_has_to_hold_and_does_not_is_a_failure(scratch: Path) -> None:
    async with staged(scratch) as (stage, plugin):
        everything_fails = frame(range(0), range(8))
        asyncio.get_running_loop().call_later(0.1, plugin.lists.put_nowait, everything_fails)
        (result,) = await played(stage, scratch, "  - {expect: {healthy: all}, holds: 5}\n")
    assert not result.ok
    assert result.seen == "0 of 8 healthy"
    assert result.seconds < 4


async def test_what_holds_is_watched_for_as_long_as_it_has_to(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(stage, scratch, "  - {expect: {healthy: all}, holds: 0.2}\n")
    assert result.ok
    assert result.seconds >= 0.2


async def test_a_step_comes_after_its_time(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(stage, scratch, "  - {after: 0.2, expect: {healthy: all}}\n")
    assert result.seconds >= 0.2


async def test_nothing_is_played_after_a_failure(scratch: Path) -> None:
    steps = "  - {expect: {free: 0}, within: 0}\n  - {missing: /dev/teelog}\n"
    async with staged(scratch) as (stage, _):
        results = await played(stage, scratch, steps)
        assert (scratch / "host/dev/teelog").exists()
    assert len(results) == 1


# What is done


async def test_the_tee_is_played_by_its_state_file(scratch: Path) -> None:
    steps = """\
  - tee: {total: 16 units, others: 3MiB, latency: 0.5, fault: busy}
  - tee: {others: 2 units, fault: none}
"""
    async with staged(scratch) as (stage, _):
        results = await played(stage, scratch, steps)
        lines = stage.tee.state.read_text().split()
    assert lines == [
        *(f"total={8 * MIB}", "pods=0", f"others={MIB}"),
        *("latency=0.5", "fault=none"),
    ]
    assert [result.title for result in results] == [
        "the TEE has 16 units, others use 3 MiB, the TEE takes 0.5 s, the TEE: busy",
        "others use 2 units, the TEE: none",
    ]


async def test_what_is_missing_on_the_node_goes_and_comes_back(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        everything = ", ".join(NODE_PATHS)
        await played(stage, scratch, f"  - missing: [{everything}]\n")
        assert [path for path in NODE_PATHS if (scratch / f"host{path}").exists()] == []
        await played(stage, scratch, "  - missing: none\n")
        assert [path for path in NODE_PATHS if not (scratch / f"host{path}").exists()] == []


async def test_a_pod_that_is_refused_unexpectedly_is_a_failure_with_the_kubelets_words(
    scratch: Path,
) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(stage, scratch, "  - admit: {pod: 9}\n")
    assert (result.title, result.expected) == ("admit a pod of 9", "pod admitted")
    assert "requested number of devices unavailable" in result.seen


async def test_a_container_that_lacks_its_access_is_a_failure(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(stage, scratch, "  - admit: {pod: 2}\n")
    assert result.expected == "2 ids and the TEE access"
    assert result.seen.startswith(
        "missing in the allocation: TEE_RAM_UNITS=2, TEE_RAM_UNIT_BYTES=524288"
    )
    assert "device /dev/tc_ns_cvm" in result.seen
    assert result.note.startswith("given to the container: mount /c read-only, IDS=")


async def test_an_allocation_that_never_ends_is_given_up(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teeplugin.simulator.scenario_runner.player.DEADLINE_SECONDS", 0.2)
    async with staged(scratch) as (stage, plugin):
        plugin.on_allocate = anyio.sleep_forever
        (result,) = await played(stage, scratch, "  - admit: {pod: 2}\n")
    assert (result.ok, result.seen) == (False, "not done within 0.2 s")


# What is expected


def seen(trial: Trial, expectation: Expectation) -> tuple[bool, str, str]:
    """Whether it is met, what is expected, and what is seen."""
    return expectation.met(trial), expectation.expected(trial), expectation.seen(trial)


async def test_a_pod_keeps_its_very_units(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        await stage.kubelet.admit("pod", 4)
        trial = Trial.of(stage)
        assert seen(trial, Keeps("pod")) == (True, "pod keeps 4", "pod keeps 4")
        trial.allocated["pod"] = frozenset({*list(trial.allocated["pod"])[:3], "other"})
        told = "pod keeps 3 and got 1 others"
        assert seen(trial, Keeps("pod")) == (False, "pod keeps 4", told)
        await stage.kubelet.remove("pod")
        assert seen(trial, Keeps("pod")) == (False, "pod keeps 4", "pod keeps 0")


async def test_a_pod_with_an_unhealthy_unit_could_not_restart(scratch: Path) -> None:
    async with staged(scratch) as (stage, plugin):
        await stage.kubelet.admit("pod", 8)
        trial = Trial.of(stage)
        assert seen(trial, Restarts("pod")) == (True, "pod can restart", "pod can restart")
        await plugin.listed(frame(range(5), range(5, 8)))
        met, _, told = seen(trial, Restarts("pod"))
        assert (met, told) == (False, "3 units of pod are unhealthy")


async def test_a_refusal_is_one_of_this_step(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        trial = Trial.of(stage)
        assert seen(trial, Refused("pod")) == (False, "refused", "admitted")
        trial.refused["pod"] = "no"
        assert seen(trial, Refused("pod")) == (True, "refused", "refused")


async def test_only_what_was_logged_since_the_step_began_counts(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        stage.timeline.plugin('{"event": "registered", "level": "info"}')
        trial = Trial.of(stage)
        expected = "logs registered"
        assert seen(trial, Logged("registered")) == (False, expected, "logs nothing")
        stage.timeline.plugin('{"event": "starting", "level": "info"}')
        stage.timeline.plugin("no JSON")
        assert seen(trial, Logged("registered")) == (False, expected, "logs starting")
        stage.timeline.plugin('{"event": "registered", "level": "info"}')
        assert seen(trial, Logged("registered")) == (True, expected, expected)


async def test_registered_means_that_the_list_is_watched(scratch: Path) -> None:
    async with staged(scratch) as (stage, plugin):
        trial = Trial.of(stage)
        resource = "huawei.com/tee-ram"
        assert seen(trial, Registered(wanted=True)) == (True, f"{resource} registered", "by p.sock")
        assert not Registered(wanted=False).met(trial)
        plugin.lists.put_nowait(None)
        await stage.kubelet.wait_for(lambda: not stage.registered, 10)
        assert seen(trial, Registered(wanted=True))[::2] == (False, "no registration")
        with pytest.raises(GRPCError):
            await plugin.register(version="v9")
        told = Registered(wanted=True).seen(trial)
        assert told.startswith('refused: requested API version "v9" is not supported')
        assert Registered(wanted=False).expected(trial) == f"{resource} not registered"


async def test_a_plugin_that_ends_is_a_failure_unless_it_is_expected(scratch: Path) -> None:
    async with staged(scratch) as (stage, _):
        (result,) = await played(
            stage, scratch, "  - {plugin: start, expect: {healthy: 1}, within: 30}\n"
        )
        assert (result.ok, result.seen) == (False, "the plugin ended with exit 0")
        (result,) = await played(stage, scratch, "  - {plugin: start, expect: {exit: 0}}\n")
        assert (result.ok, result.seen) == (True, "exit 0")
        results = await played(
            stage, scratch, "  - {plugin: start, expect: {exit: 0}}\n  - expect: {healthy: all}\n"
        )
        assert [result.ok for result in results] == [True, True]
        (result,) = await played(
            stage, scratch, "  - {plugin: start, expect: {exit: 3}, within: 0.5}\n"
        )
        assert (result.ok, result.expected, result.seen) == (False, "exit 3", "exit 0")


async def test_whether_another_pod_fits_is_tried_last_and_leaves_nothing(scratch: Path) -> None:
    async with staged(scratch) as (stage, plugin):
        steps = "  - expect: {free: 8, fits: 8}\n"
        (result,) = await played(stage, scratch, steps)
        assert (result.ok, result.seen) == (True, "8 free, next pod fits")
        assert stage.kubelet.allocated() == {}
        assert plugin.calls.count("allocate 1") == 1
        (result,) = await played(stage, scratch, "  - expect: {fits: 9}\n")
        assert result.expected == "next pod fits"
        assert result.seen.startswith("next pod: UnexpectedAdmissionError: Allocate failed due to")
