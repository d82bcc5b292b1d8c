"""Liveness where something is stuck, and readiness check by check; tests/plugin has the rest."""

import socket
from pathlib import Path
from time import monotonic

import pytest

from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.policy.decide import Cause, Decision
from teeplugin.policy.device_list import DeviceList
from teeplugin.telemetry import probes
from teeplugin.telemetry.status_page import status_of
from teeplugin_backends.base import TeeMemory
from tests.running_parts import (
    UNIT_BYTES,
    running_in_dra_mode,
    running_in_full,
    running_parts,
)

pytestmark = pytest.mark.anyio


async def test_a_query_that_can_not_be_ended_is_a_reason_to_restart() -> None:
    parts = running_parts()
    parts.poller.queries.under_way_since = monotonic() - probes.STUCK_SECONDS - 1
    problem = (await probes.live(parts))["query"]
    assert problem is not None
    assert "31 s" in problem
    assert "the backend can't cancel it" in problem


async def test_a_query_that_may_still_be_answered_is_none() -> None:
    parts = running_parts()
    parts.poller.queries.under_way_since = monotonic() - probes.STUCK_SECONDS + 5
    assert (await probes.live(parts))["query"] is None


async def test_a_socket_that_accepts_and_says_nothing_is_a_reason_to_restart(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.05)
    parts = running_parts(kubelet_dir)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(parts.endpoint.path))
        mute.listen()
        status = parts.endpoint.path.lstat()
        assert isinstance(parts.endpoint, Endpoint)
        parts.endpoint._socket._identity = status.st_dev, status.st_ino
        assert (await probes.live(parts))["socket"] == (
            f"{parts.endpoint.path} did not answer within 0.05 s"
        )


async def test_without_a_socket_in_place_there_is_nothing_to_ask() -> None:
    assert (await probes.live(running_parts()))["socket"] is None


async def test_a_socket_that_answers_is_alive(kubelet_dir: Path) -> None:
    parts = running_parts(kubelet_dir)
    assert isinstance(parts.endpoint, Endpoint)
    await parts.endpoint.open()
    try:
        assert (await probes.live(parts))["socket"] is None
    finally:
        await parts.endpoint.close()


async def test_a_confirmed_fault_is_not_ready_and_a_suspected_fault_is() -> None:
    parts = running_in_full()
    assert (await probes.ready(parts))["tee"] == "busy: no session: wait"
    device_list = parts.poller.decision.device_list
    suspected_fault = Cause("busy", "no session", "wait")
    parts.poller.decision = Decision(device_list, suspected_fault=suspected_fault)
    assert (await probes.ready(parts))["tee"] is None


def test_the_report_says_each_check_and_the_sum() -> None:
    assert probes.report({"a": None, "b": None}, "livez") == (
        True,
        "[+]a: ok\n[+]b: ok\nlivez: ok\n",
    )
    assert probes.report({"a": None, "b": "gone"}, "readyz") == (
        False,
        "[+]a: ok\n[-]b: gone\nreadyz: failed\n",
    )


@pytest.mark.parametrize("total_bytes", [1, 5 * UNIT_BYTES, 6 * UNIT_BYTES - 1])
async def test_where_the_reserve_leaves_nothing_the_plugin_is_not_ready_and_says_so(
    total_bytes: int,
) -> None:
    parts = running_parts()
    parts.poller.wanted = parts.poller.wanted._replace(reserve_bytes=5 * UNIT_BYTES)
    parts.poller.decision = Decision(DeviceList(), TeeMemory(total_bytes, 0))
    problem = (await probes.ready(parts))["tee"]
    assert problem is not None
    assert "--reserve" in problem
    assert status_of(parts)["settings_misfit"] == problem


async def test_in_dra_mode_it_is_ready_with_a_slice_that_is_stored() -> None:
    parts = running_in_dra_mode()
    assert parts.dra is not None
    publisher = parts.dra.publisher
    assert (await probes.ready(parts))["published"] is None
    # What is stored serves on.
    publisher.error = "the API server can't be reached"
    assert (await probes.ready(parts))["published"] is None
    publisher.stored = None
    assert (await probes.ready(parts))["published"] == publisher.error
    publisher.problem = "the node's runtime can't"
    assert (await probes.ready(parts))["published"] == publisher.problem
    publisher.problem = publisher.error = None
    assert (await probes.ready(parts))["published"] == "no ResourceSlice has been written yet"


async def test_a_device_plugin_publishes_no_slice() -> None:
    assert "published" not in await probes.ready(running_parts())
