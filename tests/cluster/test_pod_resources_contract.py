"""The allocation records's part of the contract under the real kubelet."""

from collections.abc import AsyncIterator

import pytest

from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.contract.pod_resources_guarantees import *  # noqa: F403 - they are the tests of this module


@pytest.fixture
async def kubelet(lab: Lab) -> AsyncIterator[Real]:
    lab.kubelet_start()
    yield Real(lab)
    lab.kubelet_start()
    lab.delete_all_pods()
