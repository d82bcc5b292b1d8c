"""The contract under the simulated kubelet, a current one and a very old one."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from teeplugin.simulator import MODERN, NEWEST, OLD, Profile, SimulatedKubelet
from tests.contract.guarantees import *  # noqa: F403 - the guarantees are the tests of this module
from tests.contract.under_test import Simulated

PROFILES = {
    "1.37": NEWEST,
    "1.36": MODERN,
    "1.18": OLD,
    "1.36, slow to listen": replace(MODERN, listen_delay_seconds=0.2),
    "1.36, slow to know its pods": replace(MODERN, sources_ready_seconds=0.3),
}


@pytest.fixture(params=PROFILES.values(), ids=list(PROFILES))
async def kubelet(
    request: pytest.FixtureRequest, kubelet_dir: Path, tmp_path: Path
) -> AsyncIterator[Simulated]:
    profile: Profile = request.param
    async with SimulatedKubelet(kubelet_dir, profile=profile) as simulated:
        yield Simulated(simulated, tmp_path / "node")
