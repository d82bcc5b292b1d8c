"""The contract where the kubelet tells who holds what: shortage, and capacity that moves."""

from pathlib import Path

import pytest

from tests.contract.under_test import KubeletUnderTest, RefusedError
from tests.plugin_process import UNIT_BYTES

pytestmark = pytest.mark.anyio

UNITS = 128


@pytest.mark.slow
async def test_what_others_take_is_shown_on_units_that_nobody_holds(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        # Held and loaded: 128 − 10 − 38 = 80 units are free for 118 that nobody holds.
        plugin.play(pods=10 * UNIT_BYTES, others=38 * UNIT_BYTES)
        await kubelet.has(UNITS - 38)
        assert allocated <= await kubelet.healthy()
        await kubelet.keeps(UNITS)
        with pytest.raises(RefusedError, match="Available: 80"):
            await kubelet.admit("large", 81)
        plugin.play(others=0)
        await kubelet.has(UNITS)
        await kubelet.admit("large-after-all", 81)


async def test_memory_that_a_pod_was_promised_and_has_not_loaded_hides_as_much(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        # 128 − 38 = 90 units are free for 118 that nobody holds.
        plugin.play(others=38 * UNIT_BYTES)
        await kubelet.has(UNITS - 28)


@pytest.mark.slow
async def test_an_exhausted_tee_leaves_only_what_is_allocated(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        plugin.play(fault="exhausted")
        await kubelet.has(10)
        assert await kubelet.healthy() == await kubelet.allocated("pod")
        plugin.play(fault="none")
        await kubelet.has(UNITS)


@pytest.mark.parametrize(("allocated_units", "listed"), [(10, 64), (100, 100)])
async def test_a_capacity_that_shrinks_takes_free_units_only(
    kubelet: KubeletUnderTest, tmp_path: Path, allocated_units: int, listed: int
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", allocated_units)
        allocated = await kubelet.allocated("pod")
        plugin.play(total=64 * UNIT_BYTES)
        await kubelet.has(listed)
        await kubelet.keeps(listed)
        assert allocated <= await kubelet.healthy()
        plugin.play(total=UNITS * UNIT_BYTES)
        await kubelet.has(UNITS)
        assert await kubelet.allocated("pod") == allocated


async def test_a_plugin_that_starts_on_a_smaller_tee_lists_what_pods_hold(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        plugin.kill()
        await kubelet.has(0)
        plugin.play(total=5 * UNIT_BYTES)
        plugin.start()
        await kubelet.has(10)
        assert await kubelet.healthy() == allocated


async def test_a_restarted_kubelets_empty_records_free_nothing(
    kubelet: KubeletUnderTest, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("pod", 10)
        allocated = await kubelet.allocated("pod")
        plugin.play(pods=10 * UNIT_BYTES, others=118 * UNIT_BYTES)
        await kubelet.has(10)
        await kubelet.kill()
        await plugin.logged("registering_again")
        await kubelet.start()
        await plugin.logged("registered", 2)
        await kubelet.has(10)
        assert await kubelet.healthy() == allocated
