"""What the node tells is followed at once: teecd killed and back, with the interval far off."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest

from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated
from tests.tee.build import Built
from tests.tee.plugin import GIB, LibteecPlugin
from tests.usage import Usage
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

UNITS = (GIB - 600 * 1024**2) // (512 * 1024)
TIMES = int(os.environ.get("TEE_KILLS", "5"))
"""How often teecd is killed; 100 for the full measurement."""


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    async with SimulatedKubelet(kubelet_dir) as simulated:
        yield Simulated(simulated, tmp_path / "node")


def plugin_of(
    tmp_path: Path, kubelet: Simulated, built: Built, interval: str, **environ: str
) -> LibteecPlugin:
    options = ("flavour=itrustee",)
    plugin = LibteecPlugin(tmp_path, kubelet, built.itrustee, options=options, **environ)
    plugin.command[-1] = interval
    return plugin


@pytest.mark.timeout(600)
async def test_teecd_killed_is_noticed_within_a_second_and_so_is_its_return(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    seconds = []
    with plugin_of(tmp_path, kubelet, built, "60") as plugin:
        await kubelet.has(UNITS)
        for times in range(1, TIMES + 1):
            for act, healthy in ((plugin.teecd.kill, 0), (plugin.teecd.start, UNITS)):
                act()
                began = monotonic()
                await kubelet.has(healthy, within_seconds=1)
                seconds.append(monotonic() - began)
            entry = await plugin.logged("tee_unhealthy", times)
            assert entry["cause"] == "unreachable"
            assert entry["error"].startswith("teecd is not running: ")
            assert "systemctl start teecd" in entry["fix"]
            await plugin.logged("tee_recovered", times)
    median = sorted(seconds)[len(seconds) // 2]
    print(f"killed {TIMES} times: at most {max(seconds):.2f} s, mostly {median:.2f} s")


async def test_without_events_a_killed_teecd_is_noticed_within_the_interval(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin_of(tmp_path, kubelet, built, "1", no_inotify="1") as plugin:
        await kubelet.has(UNITS)
        assert (await plugin.logged("node_not_watched"))["fix"].startswith("raise fs.inotify")
        plugin.teecd.kill()
        # The interval, and the moment after which a login that takes long is looked at.
        await kubelet.has(0, within_seconds=1 + 1)
        assert (await plugin.logged("tee_unhealthy"))["cause"] == "unreachable"
        plugin.teecd.start()
        await kubelet.has(UNITS, within_seconds=2)
        assert plugin.count("node_not_watched") == 1


async def test_a_node_that_comes_and_goes_is_noticed_at_once(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin_of(tmp_path, kubelet, built, "60"):
        await kubelet.has(UNITS)
        node = kubelet.host_root / "dev" / "tc_ns_cvm"
        node.unlink()
        await kubelet.has(0, within_seconds=1)
        node.touch()
        await kubelet.has(UNITS, within_seconds=1)


async def test_its_own_queries_are_no_events_and_at_rest_nothing_is_asked(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin_of(tmp_path, kubelet, built, "60") as plugin:
        await kubelet.has(UNITS)
        before, asked = Usage.of(plugin.pid).cpu_seconds, plugin.calls("init")
        accepted = plugin.teecd.connections()
        # Many readings' worth of time, if a reading were an event.
        deadline = monotonic() + 2
        await eventually("two seconds", monotonic, until=lambda now: now > deadline)
        assert plugin.calls("init") == asked
        assert plugin.teecd.connections() == accepted
        assert Usage.of(plugin.pid).cpu_seconds - before < 0.05


async def test_a_query_of_a_teecd_that_is_well_costs_it_no_connection_of_ours(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin_of(tmp_path, kubelet, built, "0.1") as plugin:
        await kubelet.has(UNITS)
        await eventually("queries", lambda: plugin.calls("init"), until=lambda calls: calls >= 5)
        assert plugin.stop() == 0
        assert plugin.teecd.connections() == plugin.calls("init")


async def test_a_teecd_that_does_not_answer_is_told_from_a_hung_tee(
    built: Built, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin_of(tmp_path, kubelet, built, "1", answer_seconds="1") as plugin:
        await kubelet.has(UNITS)
        with plugin.teecd.kept_busy():
            entry = await plugin.logged("tee_fault_suspected")
            assert entry["cause"] == "timed-out"
            assert "though teecd accepts connections" in entry["error"]
            assert "idle connections to teecd" in entry["fix"]
        await plugin.logged("tee_suspected_fault_over", deadline_seconds=30)
