"""The contract: what the plugin guarantees under any kubelet.

Every module that imports these tests says by its fixture `kubelet` which kubelet that is.
"""

import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from teeplugin.kubelet.registration import LOOK_SECONDS
from tests.contract.under_test import ACCESS_PATHS, KubeletUnderTest, RefusedError
from tests.plugin_process import UNIT_BYTES, Plugin
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNITS = 128
ALL = frozenset(map(str, range(UNITS)))


async def test_the_capacity_is_listed_in_units_with_decimal_ids(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await plugin.logged("registered")
        await kubelet.has(UNITS)
        assert await kubelet.healthy() == ALL
        await kubelet.keeps(UNITS)


async def test_a_pod_gets_its_units_and_the_way_to_the_tee(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path):
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        assert len(allocated) == 10
        assert allocated <= ALL
        handed = await kubelet.handed("pod")
        assert handed.environment["TEE_RAM_UNITS"] == "10"
        assert handed.environment["TEE_RAM_UNIT_BYTES"] == str(UNIT_BYTES)
        assert handed.environment["TEE_RAM_BYTES"] == str(10 * UNIT_BYTES)
        assert handed.mounts["/var/itrustee/teecd"] is True
        assert handed.devices >= set(ACCESS_PATHS[1:])


async def test_a_pod_too_large_is_refused_with_the_reason(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path):
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        with pytest.raises(RefusedError, match=f"Available: {UNITS - 10}"):
            await kubelet.admit("large", UNITS - 9)


async def test_units_of_a_pod_that_went_are_free_again(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path):
        await kubelet.has(UNITS)
        await kubelet.admit("first", UNITS)
        await kubelet.remove("first")
        await kubelet.admit("second", UNITS)
        assert await kubelet.allocated("second") == ALL


async def test_a_failing_tee_makes_all_unhealthy_and_its_recovery_all_healthy(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        plugin.play(fault="unreachable")
        await kubelet.has(0)
        await kubelet.keeps(UNITS)
        assert await kubelet.allocated("pod") == allocated
        plugin.play(fault="none")
        await kubelet.has(UNITS)
        assert await kubelet.allocated("pod") == allocated
        assert plugin.count("registered") == 1


async def test_a_capacity_that_moves_is_followed(kubelet: KubeletUnderTest, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        plugin.play(total=64 * UNIT_BYTES)
        await kubelet.has(64)
        plugin.play(total=200 * UNIT_BYTES)
        await kubelet.has(200)


async def test_a_plugin_that_stops_takes_health_with_it_but_no_pod(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        assert plugin.stop() == 0
        await kubelet.has(0)
        await kubelet.keeps(UNITS)
        assert await kubelet.allocated("pod") == allocated
        assert not list(kubelet.device_plugins_dir.glob("tee-ram-*.sock"))


async def test_a_plugin_that_was_killed_is_succeeded_by_another(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        plugin.kill()
        await kubelet.has(0)
        plugin.start()
        await kubelet.has(UNITS)
        assert await kubelet.allocated("pod") == allocated
        # What the killed one left was cleared away.
        assert len(list(kubelet.device_plugins_dir.glob("tee-ram-*.sock"))) == 1


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_kubelet_that_was_restarted_is_told_again(
    kubelet: KubeletUnderTest, tmp_path: Path, end: str
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        await (kubelet.stop() if end == "stop" else kubelet.kill())
        await plugin.logged("registering_again")
        await kubelet.start()
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        assert await kubelet.allocated("pod") == allocated


async def test_a_kubelet_that_comes_later_is_waited_for(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    await kubelet.stop()
    with kubelet.plugin(tmp_path) as plugin:
        await plugin.logged("not_registered")
        await kubelet.start()
        await kubelet.has(UNITS)


async def test_a_plugin_whose_socket_was_removed_listens_and_registers_again(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        (socket,) = kubelet.device_plugins_dir.glob("tee-ram-*.sock")
        socket.unlink()
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)


def _deleted(directory: Path) -> bool:
    """Delete it; the plugin may put a new socket into it meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


async def test_a_directory_that_was_replaced_is_found_again(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.stop()
        await eventually("the directory is deleted", partial(_deleted, kubelet.device_plugins_dir))
        await kubelet.start()
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)


async def test_a_directory_that_was_moved_away_is_found_again(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.stop()
        old = kubelet.device_plugins_dir.rename(kubelet.kubelet_dir / "old")
        await kubelet.start()
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        shutil.rmtree(old)


async def test_sighup_asks_the_tee_and_registers_again(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        plugin.signal(signal.SIGHUP)
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)


@asynccontextmanager
async def overlapping(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> AsyncIterator[tuple[Plugin, Plugin]]:
    """An older plugin, and a newer one that has registered beside it."""
    with kubelet.plugin(tmp_path, "older") as older:
        await kubelet.has(UNITS)
        with kubelet.plugin(tmp_path, "newer") as newer:
            await newer.logged("registered")
            yield older, newer


async def test_the_newer_of_two_overlapping_instances_stays_healthy_when_the_older_leaves(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    async with overlapping(kubelet, tmp_path) as (older, _):
        assert older.stop() == 0
        # The kubelet may drop the newer as well before it hears of it again.
        pods = (f"pod-{number}" for number in count())
        await eventually("a pod runs", lambda: kubelet.admits(next(pods), UNITS), 2)
        await kubelet.has(UNITS, within_seconds=2)


@pytest.mark.slow
async def test_the_socket_of_an_older_instance_that_is_killed_goes(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    async with overlapping(kubelet, tmp_path) as (older, newer):
        await newer.logged("registered")
        older.kill()
        await newer.logged("stale_socket_removed", deadline_seconds=2 * LOOK_SECONDS + 5)
        # Kubelets of 1.25 to 1.36 drop the newer instance: it may register again, elsewhere.
        await eventually(
            "the newer instance's socket only",
            lambda: (
                {path.name for path in kubelet.device_plugins_dir.glob("tee-ram*.sock")}
                == {newer.events("registered")[-1]["socket"]}
            ),
        )
        await kubelet.has(UNITS)


async def test_pods_are_admitted_while_the_tee_hangs(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        plugin.play(fault="hang")
        await kubelet.admit("pod", 10)
        assert len(await kubelet.allocated("pod")) == 10
        assert plugin.stop(2) == 0


@pytest.mark.slow
async def test_220000_units_go_unhealthy_and_back_without_losing_the_stream(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, units=220_000) as plugin:
        await kubelet.has(220_000, within_seconds=60)
        await plugin.logged("registered")
        plugin.play(fault="refused")
        await kubelet.has(0, within_seconds=60)
        plugin.play(fault="none")
        await kubelet.has(220_000, within_seconds=60)
        assert plugin.count("registered") == 1


async def test_the_longest_list_the_kubelet_takes_is_taken(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, units=226_600) as plugin:
        await kubelet.has(226_600, within_seconds=60)
        # The kubelet may have the list before its Register call is logged as answered.
        await plugin.logged("registered")
        await kubelet.keeps(226_600)
        assert plugin.count("registered") == 1


async def test_one_unit_more_is_refused_by_the_plugin_and_not_by_the_kubelet(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    before = set(kubelet.device_plugins_dir.iterdir())
    with kubelet.plugin(tmp_path, units=226_601) as plugin:
        await eventually("its end", lambda: not plugin.running)
        assert plugin.wait() == 2
        assert "the kubelet takes at most 226600" in plugin.log.read_text()
    assert set(kubelet.device_plugins_dir.iterdir()) == before
