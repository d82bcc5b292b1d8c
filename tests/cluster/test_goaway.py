"""A GOAWAY of ours: the kubelet keeps the stream and dials again for its next call."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.in_process import registering
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def kubelet(lab: Lab) -> AsyncIterator[Real]:
    lab.kubelet_start()
    yield Real(lab)
    lab.delete_all_pods()


async def test_pods_are_admitted_and_lists_followed_after_a_goaway(kubelet: Real) -> None:
    async with registering(kubelet.device_plugins_dir, units=16) as ours:
        await kubelet.has(16)
        ours.send_goaway()
        await kubelet.admit("pod", 4)
        assert len(await kubelet.allocated("pod")) == 4
        ours.list_units(12)
        await kubelet.has(12)
        assert await eventually("one stream", lambda: len(ours.streams)) == 1
