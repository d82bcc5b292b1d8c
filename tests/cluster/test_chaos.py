"""Random interleavings on the real kubelet: one seed here, more with TEEPLUGIN_CHAOS=30."""

import os
from pathlib import Path

import pytest

from tests.chaos import interleaving
from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real

pytestmark = pytest.mark.anyio

COUNT = int(os.environ.get("TEEPLUGIN_CHAOS", "1"))
KUBELET_SECONDS = 5.0
"""The real kubelet is back on its feet so long after it began to start."""


@pytest.mark.parametrize("seed", range(1, COUNT + 1))
async def test_whatever_goes_wrong_ends_well(lab: Lab, tmp_path: Path, seed: int) -> None:
    lab.kubelet_start()
    story: list[str] = []
    try:
        await interleaving.run(
            Real(lab), tmp_path, seed, patience_seconds=KUBELET_SECONDS, story=story
        )
    finally:
        print("; ".join(story))
        lab.kubelet_start()
        lab.delete_all_pods()
