"""The node object under shortage: exact numbers, pods that wait and never fail, allocated units."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from signal import SIGHUP
from time import time

import anyio
from anyio.from_thread import start_blocking_portal

from tests.cluster.lab import Lab
from tests.cluster.pods import count, phase, unit_health
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import (
    SCHEDULER_SECONDS,
    UNITS,
    plugin,
    unscheduled_because,
    wait_for_allocatable,
)
from tests.cluster.versions import NO_ALLOCATABLE, NO_UNIT_HEALTH
from tests.cluster.waiting import wait_until
from tests.plugin_process import UNIT_BYTES, Plugin

__all__ = ["plugin"]  # the fixture

INSUFFICIENT = "Insufficient huawei.com/tee-ram"
SAMPLE_SECONDS = 0.1
"""Between two looks at the allocation records: often enough for a flap, cheap on two cores."""


@contextmanager
def published_list(
    lab: Lab,
    directory: Path,
    *,
    units: int,
    interval_seconds: float = 0.1,
    flags: Sequence[str] = (),
    allocatable: int | None = None,
) -> Iterator[Plugin]:
    """Run a plugin on a TEE of so many units, from when the node object shows it; then clear up."""
    lab.kubelet_start()
    # The node object tells of the plugin before for a while: its units aren't this one's.
    wait_for_allocatable(lab, 0)
    interval = ("--health-interval", str(interval_seconds))
    with Real(lab).plugin(directory, units=units, flags=(*interval, *flags)) as plugin:
        wait_for_allocatable(lab, units if allocatable is None else allocatable)
        try:
            yield plugin
        finally:
            lab.delete_all_pods()


def play(plugin: Plugin, **units: int) -> float:
    """Have so many units' memory be taken by `pods`, by `others`; the time of it."""
    plugin.play(**{key: number * UNIT_BYTES for key, number in units.items()})
    return time()


def wait_for_insufficient(lab: Lab, *pods: str) -> None:
    """Wait until the scheduler has found no room for any of these pods."""
    for pod in pods:
        wait_until(
            f"pod {pod} waits for units",
            partial(unscheduled_because, lab, pod),
            SCHEDULER_SECONDS,
            accept=lambda words: INSUFFICIENT in words,
        )
        assert phase(lab.get("pod", pod)) == "Pending"


@dataclass
class Watched:
    """What was seen of a pod's units by looking into the kubelet again and again."""

    allocated: frozenset[str]
    looks: int = 0
    unhealthy: set[str] = field(default_factory=set)
    records: set[frozenset[str]] = field(default_factory=set)

    async def look(self, kubelet: Real, pod: str) -> None:
        """Take note of allocated units that aren't healthy, and of what the kubelet reports."""
        while True:
            if not kubelet.lab.settings.versions.differs_by(NO_ALLOCATABLE):
                self.unhealthy |= self.allocated - await kubelet.healthy()
            self.records.add(await kubelet.allocated(pod))
            self.looks += 1
            await anyio.sleep(SAMPLE_SECONDS)


@contextmanager
def watching(lab: Lab, pod: str) -> Iterator[Watched]:
    """Watch a pod's units through PodResources, in a thread beside the test."""
    kubelet = Real(lab)
    with start_blocking_portal("asyncio") as portal:
        watched = Watched(portal.call(kubelet.allocated, pod))
        looking = portal.start_task_soon(watched.look, kubelet, pod)
        try:
            yield watched
        finally:
            # What has ended by itself did so by an error, which result() raises.
            if not looking.cancel():
                looking.result()


def test_what_others_and_pods_take_stands_in_the_node_object_by_exact_numbers(
    lab: Lab, plugin: Plugin
) -> None:
    # 128 units, so a step is one. The fixture has waited for all 128.
    play(plugin, others=38)
    wait_for_allocatable(lab, 90)  # 90 free for 128 that nobody holds
    lab.run_pod(lab.pod("ca", 10))
    # 90 free for 118: what the pod was promised and hasn't loaded hides 10 of the others' 38.
    wait_for_allocatable(lab, 100)
    play(plugin, pods=10)
    wait_for_allocatable(lab, 90)  # loaded: 80 free for 118
    play(plugin, pods=25)
    wait_for_allocatable(lab, 75)  # 15 more than it asked for: 65 free for 118
    play(plugin, pods=10, others=118)
    wait_for_allocatable(lab, 10)  # nothing is free: what is held stays
    play(plugin, others=0)
    wait_for_allocatable(lab, 128)
    assert lab.capacity() == 128
    assert [entry["units"] for entry in plugin.events("shortage")] == [38, 38, 53, 118]
    assert [entry["units"] for entry in plugin.events("shortage_eased")] == [28, 0]


def test_a_reserve_is_subtracted_and_hides_what_the_tee_os_leaves_of_it(
    lab: Lab, tmp_path: Path
) -> None:
    reserve = ("--reserve", "14MiB")  # 28 units of the 128
    with published_list(lab, tmp_path, units=128, flags=reserve, allocatable=100) as plugin:
        play(plugin, others=38)  # the TEE OS its 28, others 10
        wait_for_allocatable(lab, 90)
        play(plugin, others=29)
        wait_for_allocatable(lab, 99)
        play(plugin, others=28)
        wait_for_allocatable(lab, 100)
        assert lab.capacity() == 100
        # With less than the reserve in use, as much of others' memory doesn't show.
        assert plugin.count("shortage") == 1


def test_a_fault_stands_in_the_status_of_a_pods_units_and_a_shortage_does_not(
    lab: Lab, plugin: Plugin
) -> None:
    lab.run_pod(lab.pod("ca", 10))
    play(plugin, pods=10, others=118)
    wait_for_allocatable(lab, 10)
    wait_for_health(lab, "ca", "Healthy")
    plugin.play(fault="unreachable")
    wait_for_health(lab, "ca", "Unhealthy")
    plugin.play(fault="none")
    wait_for_health(lab, "ca", "Healthy")
    wait_for_allocatable(lab, 10)


def wait_for_health(lab: Lab, pod: str, health: str) -> None:
    wait_until(
        f"10 units of {pod} are {health} in its status",
        lambda: unit_health(lab.get("pod", pod)),
        SCHEDULER_SECONDS,
        accept=lambda seen: seen == healths(lab, 10, health),
    )


def healths(lab: Lab, units: int, health: str = "Healthy") -> dict[str, int]:
    """What the status of a pod says of so many units; older kubelets say nothing."""
    return {} if lab.settings.versions.differs_by(NO_UNIT_HEALTH) else {health: units}


def test_after_others_took_30_percent_pods_wait_or_run_and_none_fails(
    lab: Lab, tmp_path: Path
) -> None:
    interval_seconds = 3
    # 1,000 units: a step is 7.
    with published_list(lab, tmp_path, units=1000, interval_seconds=interval_seconds) as plugin:
        lab.run_pod(lab.pod("holder", 391))
        play(plugin, pods=391)
        with watching(lab, "holder") as watched:
            taken = play(plugin, others=300)
            # 309 free for 609 that nobody holds: 300 short, 43 steps, 301. 699 less 391 are left.
            wait_for_allocatable(lab, 699)
            shown_seconds = time() - taken
            lab.apply(lab.pod("large", 309))
            wait_for_insufficient(lab, "large")
            lab.run_pod(lab.pod("fits", 9))
            # 309 free for 600: 291 short, 42 steps, 294. 706 less 400 are left.
            wait_for_allocatable(lab, 706)
            play(plugin, pods=400)
            # 300 free for 600: 300 short, 301. 699 less 400 are left.
            wait_for_allocatable(lab, 699)
            lab.apply(lab.pod("one-more", 300))
            wait_for_insufficient(lab, "one-more", "large")
            lab.delete_pod("large")
            lab.apply(lab.pod("another", 300))
            wait_for_insufficient(lab, "one-more", "another")
            assert unit_health(lab.get("pod", "holder")) == healths(lab, 391)
            ended = play(plugin, others=0)
            wait_for_allocatable(lab, 1000)
            back_seconds = time() - ended
            lab.wait_pod("one-more", "Running")
            lab.wait_pod("another", "Running")
            running_seconds = time() - ended
        assert count(lab.pods()) == {"Running": 4}
        assert unit_health(lab.get("pod", "holder")) == healths(lab, 391)
    assert len(watched.allocated) == 391
    assert watched.records == {watched.allocated}
    assert watched.unhealthy == set()
    assert watched.looks > 10
    most_seconds = interval_seconds + 10 + lab.settings.node_status_seconds
    print(
        f"\nothers take 30 % → in the node object: {shown_seconds:.1f} s; they leave → in the node "
        f"object: {back_seconds:.1f} s (at most {most_seconds} s), both waiting pods run: "
        f"{running_seconds:.1f} s; {watched.looks} looks at the 391 allocated units, none unhealthy"
    )
    assert shown_seconds < most_seconds
    assert back_seconds < most_seconds


def test_a_pod_that_replaces_another_waits_while_the_others_memory_lingers(
    lab: Lab, tmp_path: Path
) -> None:
    with published_list(lab, tmp_path, units=UNITS, interval_seconds=0.5) as plugin:
        lab.run_pod(lab.pod("stays", 28))
        lab.run_pod(lab.pod("goes", 100))
        play(plugin, pods=128)
        lab.delete_pod("goes")
        # The pod is gone, its trusted application is not: nothing is free for the 100.
        wait_for_allocatable(lab, 28)
        lab.apply(lab.pod("replacement", 100))
        wait_for_insufficient(lab, "replacement")
        play(plugin, pods=78)
        wait_for_allocatable(lab, 78)
        wait_for_insufficient(lab, "replacement")
        freed = play(plugin, pods=28)
        lab.wait_pod("replacement", "Running")
        running_seconds = time() - freed
        assert count(lab.pods()) == {"Running": 2}
        assert unit_health(lab.get("pod", "stays")) == healths(lab, 28)
        assert lab.allocatable() == 128
    print(f"\nmemory freed → the pod that waited for it runs: {running_seconds:.1f} s")


def test_a_replacement_that_comes_before_the_next_query_is_accepted(
    lab: Lab, tmp_path: Path
) -> None:
    # No query comes by itself in this test, so none comes between the two pods.
    with published_list(lab, tmp_path, units=UNITS, interval_seconds=300) as plugin:
        lab.run_pod(lab.pod("goes", 128))
        play(plugin, pods=128)
        lab.delete_pod("goes")
        # Its ids are free, and nobody has asked the TEE since: the next pod gets them.
        lab.run_pod(lab.pod("replacement", 128))
        # Two units more, which are taken as well, show that the TEE has been asked.
        play(plugin, total=130, pods=130)
        plugin.signal(SIGHUP)
        wait_until("the shortage is told", lambda: plugin.count("shortage"), SCHEDULER_SECONDS)
        (shortage,) = plugin.events("shortage")
        assert (shortage["units"], shortage["allocated_units"], shortage["free_bytes"]) == (
            2,
            128,
            0,
        )
        wait_until(
            "130 units are the capacity", lab.capacity, SCHEDULER_SECONDS, accept=(130).__eq__
        )
        wait_for_allocatable(lab, 128)
        assert unit_health(lab.get("pod", "replacement")) == healths(lab, 128)
        assert count(lab.pods()) == {"Running": 1}
