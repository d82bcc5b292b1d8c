"""Liveness where something is stuck, and readiness check by check; tests/plugin has the rest."""

import socket
from pathlib import Path
from time import monotonic

import pytest

from teeplugin.policy.decide import Cause, Judgement
from teeplugin.telemetry import probes
from tests.running_parts import running_in_full, running_parts

pytestmark = pytest.mark.anyio


async def test_a_query_that_can_not_be_ended_is_a_reason_to_restart() -> None:
    running = running_parts()
    running.health.queries.under_way_since = monotonic() - probes.STUCK_SECONDS - 1
    problem = (await probes.live(running))["query"]
    assert problem is not None
    assert "31 s" in problem
    assert "the backend can't end it" in problem


async def test_a_query_that_may_still_be_answered_is_none() -> None:
    running = running_parts()
    running.health.queries.under_way_since = monotonic() - probes.STUCK_SECONDS + 5
    assert (await probes.live(running))["query"] is None


async def test_a_socket_that_accepts_and_says_nothing_is_a_reason_to_restart(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "SOCKET_SECONDS", 0.05)
    running = running_parts(kubelet_dir)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(running.endpoint.path))
        mute.listen()
        status = running.endpoint.path.lstat()
        running.endpoint._identity = status.st_dev, status.st_ino
        assert (await probes.live(running))["socket"] == (
            f"{running.endpoint.path} did not answer within 0.05 s"
        )


async def test_without_a_socket_in_place_there_is_nothing_to_ask() -> None:
    assert (await probes.live(running_parts()))["socket"] is None


async def test_a_socket_that_answers_is_alive(kubelet_dir: Path) -> None:
    running = running_parts(kubelet_dir)
    await running.endpoint.open()
    try:
        assert (await probes.live(running))["socket"] is None
    finally:
        await running.endpoint.close()


async def test_a_believed_fault_is_not_ready_and_a_suspicion_is() -> None:
    running = running_in_full()
    assert (await probes.ready(running))["tee"] == "busy: no session: wait"
    inventory = running.health.judgement.inventory
    suspicion = Cause("busy", "no session", "wait")
    running.health.judgement = Judgement(inventory, suspicion=suspicion)
    assert (await probes.ready(running))["tee"] is None


def test_the_report_says_each_check_and_the_sum() -> None:
    assert probes.report({"a": None, "b": None}, "livez") == (
        True,
        "[+]a: ok\n[+]b: ok\nlivez: ok\n",
    )
    assert probes.report({"a": None, "b": "gone"}, "readyz") == (
        False,
        "[+]a: ok\n[-]b: gone\nreadyz: failed\n",
    )
