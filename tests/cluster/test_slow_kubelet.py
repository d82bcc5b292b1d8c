"""A kubelet that stands still while the plugin registers: one call, and one stream for good."""

import os
import signal
from pathlib import Path
from time import monotonic

import pytest

from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

STOPPED_SECONDS = 20
"""Longer than the 15 s after which the plugin logs that it waits."""

_REQUEST = "Got registration request from device plugin with resource"


async def test_a_kubelet_that_answers_after_20_s_gets_one_call(lab: Lab, tmp_path: Path) -> None:
    kubelet, pid = Real(lab), lab.kubelet_pid
    assert pid is not None
    before = lab.log("kubelet").read_text().count(_REQUEST)
    os.kill(pid, signal.SIGSTOP)
    stopped_at = monotonic()
    try:
        with kubelet.plugin(tmp_path) as plugin:
            entry = await plugin.logged("not_registered", deadline_seconds=30)
            assert "has not answered Register" in entry["reason"]
            await eventually(
                "stopped long enough",
                lambda: monotonic() - stopped_at >= STOPPED_SECONDS,
                STOPPED_SECONDS + 5,
            )
            os.kill(pid, signal.SIGCONT)
            await eventually("128 units", kubelet.healthy, 30, until=lambda ids: len(ids) == 128)
            await plugin.logged("registered")
            assert lab.log("kubelet").read_text().count(_REQUEST) == before + 1
            assert plugin.count("registered") == 1
            assert plugin.stop() == 0
    finally:
        os.kill(pid, signal.SIGCONT)
