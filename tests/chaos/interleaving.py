"""One interleaving: a calm node, some disturbances, their end, and what has to hold then."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from time import monotonic

import anyio

from teeplugin.kubelet.registration import LOOK_SECONDS
from teeplugin.policy.allocation_records import RECENT_ALLOCATION_SECONDS
from teeplugin.policy.decide import FAULT_SECONDS
from tests.chaos.world import ALLOCATED, START_SECONDS, World
from tests.contract.under_test import KubeletUnderTest
from tests.plugin_process import Plugin
from tests.usage import Usage
from tests.waiting import eventually

STEPS = 8
REGISTERED_SECONDS = 2.0
"""After the last fault's end; on the real kubelet its own start comes on top."""

ANSWER_SECONDS = 1.0
"""For a kubelet that answers at all."""

HUNG_SECONDS = 12.0
"""A query that hung when its TEE was mended ends at its deadline of 10 s."""

SETTLE_SECONDS = 10.0
"""A shortage is confirmed after 2 s, perhaps a second time, and a promise may have to be read."""

MAX_LINES = 12
"""Log lines a disturbance: what begins, what ends, and what the kubelet's restart brings."""

MAX_VISIT_LINES = 3
"""A pod that comes and goes is logged when it has units, and when they are free again."""

_FAULTY = ("TEE", "no", "kubelet", "disk", "backend", "records", "node")
_ONCE_A_FAULT = ("tee_unhealthy", "tee_recovered", "pod_resources_unreadable")


async def run(
    kubelet: KubeletUnderTest,
    directory: Path,
    seed: int,
    *,
    on_tmpfs: bool = False,
    patience_seconds: float = 0.0,
    story: list[str] | None = None,
) -> World:
    """Play the interleaving of this seed, telling it to `story`, and check every invariant.

    Raises:
        AssertionError: one of them doesn't hold; the text names it.
    """
    world = World(kubelet, directory, Random(seed), on_tmpfs)  # noqa: S311 - to be repeatable
    world.story = [] if story is None else story
    try:
        world.start_plugin()
        await eventually("the plugin begins", world.plugin.events, START_SECONDS)
        await kubelet.has(world.model.healthy)
        await kubelet.admit("stays", ALLOCATED)
        world.model.allocated = ALLOCATED
        allocated = await kubelet.allocated("stays")
        await world.plugin.logged("units_allocated", deadline_seconds=10 + patience_seconds)
        before = Usage.of(world.plugin.pid)
        for _ in range(STEPS):
            await world.disturb()
            _check_none_ended(world)
            await _check_no_more_than_there_is(world)
        await world.end_all()
        await _all_is_well(world, allocated, patience_seconds)
        await _check_what_is_left(world, before, patience_seconds)
        _check_logs(world)
    finally:
        try:
            # Also after a failure: the next interleaving may be on the same kubelet.
            await world.end_all()
        finally:
            for plugin in world.plugins:
                if plugin.running:
                    plugin.kill()
    return world


def _check_none_ended(world: World) -> None:
    ended = [plugin for plugin in world.plugins if not plugin.running]
    assert [plugin.log.name for plugin in ended if plugin not in world.ended] == []


async def _check_no_more_than_there_is(world: World) -> None:
    """Whatever a backend says of its reserve, there are no units beyond the TEE's memory."""
    if {"records odd", "records away"} & world.going_on.keys():
        return  # by which a real kubelet is asked
    with anyio.move_on_after(ANSWER_SECONDS):  # the kubelet may be frozen
        healthy = len(await world.kubelet.healthy())
        assert healthy <= world.largest, f"{healthy} healthy units of {world.largest} at most"


async def _all_is_well(world: World, allocated: frozenset[str], patience_seconds: float) -> None:
    kubelet = world.kubelet
    _check_none_ended(world)
    if len(world.plugins) > 1:
        for plugin in world.plugins[:-1]:
            begun = bool(plugin.events())
            if plugin.running:
                # An interpreter that isn't there yet ends by the signal itself.
                assert plugin.stop(5 + patience_seconds) == 0 or not begun, "an older plugin's end"
    # Starting an interpreter is no part of what is measured.
    await eventually("the plugin begins", world.plugin.events, START_SECONDS)
    ended = monotonic()
    hung = world.hung or world.faults.hung
    allowed = REGISTERED_SECONDS + patience_seconds + (HUNG_SECONDS if hung else 0)
    allowed += min(FAULT_SECONDS, world.faults.long_seconds)
    await eventually(
        "the plugin registered",
        lambda: (_sockets(world), _registered_socket(world.plugin)),
        allowed,
        until=lambda seen: seen[1] in seen[0],
    )
    registered = monotonic() - ended
    expected = world.model.healthy
    forgotten = RECENT_ALLOCATION_SECONDS + 1 if world.faults.visits else 0
    await kubelet.has(expected, within_seconds=SETTLE_SECONDS + allowed + forgotten)
    assert await kubelet.allocated("stays") == allocated, "the pod lost units"
    # A plugin that started while the records could not be read learns of the pod afterwards.
    await eventually(
        "the pod's units are healthy", kubelet.healthy, SETTLE_SECONDS, until=allocated.issubset
    )
    # What was agreed on stays so.
    assert len(await kubelet.healthy()) == expected
    world.story.append(f"registered after {registered:.2f} s, {expected} healthy")


def _sockets(world: World) -> list[str]:
    return sorted(path.name for path in world.kubelet.device_plugins_dir.glob("tee-ram*.sock"))


def _registered_socket(plugin: Plugin) -> str | None:
    """The socket that it is registered with, by its log: by what it said last of registering."""
    said = [entry for entry in plugin.events() if "regist" in entry["event"]]
    return said[-1]["socket"] if said and said[-1]["event"] == "registered" else None


async def _check_what_is_left(world: World, before: Usage, patience_seconds: float) -> None:
    # A plugin that has just started reads the kubelet's checkpoint in a thread. A connection to
    # the kubelet and one of its own may just be in use.
    await eventually(
        "no more descriptors, threads and child processes than before",
        lambda: Usage.of(world.plugin.pid),
        5 + patience_seconds,
        until=lambda now: (
            now.descriptors <= before.descriptors + 4
            and now.threads <= before.threads
            and now.children == 0
        ),
    )
    # Nobody may have started since one was killed: what it left goes at the second look.
    await eventually(
        "no socket but the plugin's",
        lambda: _sockets(world),
        2 * LOOK_SECONDS + 1 + patience_seconds,
        until=lambda seen: seen == [_registered_socket(world.plugin)],
    )


def _check_logs(world: World) -> None:
    begun = Counter(name.split()[0] for name in world.story if not name.endswith("ends"))
    for plugin in world.plugins:
        lines = [line for line in plugin.log.read_text().splitlines() if line]
        events = Counter(json.loads(line)["event"] for line in lines)
        assert not events["plugin_bug"] + events["telemetry_bug"], "a bug"
        assert "Traceback" not in plugin.log.read_text(), "a traceback"
        most = MAX_LINES * (len(world.story) + 2) + MAX_VISIT_LINES * world.faults.visits
        assert len(lines) <= most, f"{len(lines)} log lines for {len(world.story)} steps"
        assert events["settings_changed"] <= begun["reserve"], "a bad file changed the settings"
        for event in _ONCE_A_FAULT:
            faults = sum(begun[kind] for kind in _FAULTY) + 2
            assert events[event] <= 2 * faults, f"{event} logged {events[event]} times"
