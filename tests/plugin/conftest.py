"""What the tests of the plugin as a process share: a simulated kubelet beside it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    """Give a kubelet, and a node's root, for plugins that a test starts."""
    async with SimulatedKubelet(kubelet_dir) as simulated:
        yield Simulated(simulated, tmp_path / "node")
