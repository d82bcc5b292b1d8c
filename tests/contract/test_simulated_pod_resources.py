"""PodResources' part of the contract under simulated kubelets, and what old ones lack."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from teeplugin.simulator import MODERN, NEWEST, OLD, Profile, SimulatedKubelet
from tests.contract.pod_resources_guarantees import *  # noqa: F403 - they are the tests of this module
from tests.contract.under_test import Simulated
from tests.plugin_process import UNIT_BYTES

PROFILES = {
    "1.37": NEWEST,
    "1.36": MODERN,
    "1.36, slow to know its pods": replace(MODERN, sources_ready_seconds=0.3),
}


@pytest.fixture(params=PROFILES.values(), ids=list(PROFILES))
async def kubelet(
    request: pytest.FixtureRequest, kubelet_dir: Path, tmp_path: Path
) -> AsyncIterator[Simulated]:
    profile: Profile = request.param
    async with SimulatedKubelet(kubelet_dir, profile=profile) as simulated:
        yield Simulated(simulated, tmp_path / "node")


@pytest.mark.anyio
async def test_without_pod_resources_shortage_is_not_shown_and_that_is_told_once(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    async with SimulatedKubelet(kubelet_dir, profile=OLD) as simulated:
        kubelet = Simulated(simulated, tmp_path / "node")
        with kubelet.plugin(tmp_path) as plugin:
            await kubelet.has(128)
            plugin.play(others=100 * UNIT_BYTES)
            await plugin.logged("pod_resources_unreadable", deadline_seconds=30)
            plugin.play(fault="exhausted")
            await plugin.logged("tee_fault_suspected")
            assert len(await kubelet.healthy()) == 128
            assert plugin.count("pod_resources_unreadable") == 1
