"""The API server away, for half a minute or TEEPLUGIN_API_AWAY_SECONDS, and back."""

import os
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.cluster.dra_lab import (
    UNITS,
    claimant,
    memory,
    published,
    uid,
    units_in,
    wait_for_slice,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.cluster.processes import Process
from tests.cluster.waiting import wait_until
from tests.plugin_process import UNIT_BYTES, Plugin

AWAY_SECONDS = float(os.environ.get("TEEPLUGIN_API_AWAY_SECONDS", "30"))
RIGHT_AGAIN_SECONDS = 45.0
"""The plugin's back-off is 30 s at most."""

KUBELET_SECONDS = 90.0
OTHERS = 28
WORSE_THAN_INFO = ("warning", "error", "critical")
POD_RUNS = b"sleep\x00100000\x00"


def processes(lab: Lab) -> set[Process]:
    """The processes of the lab's pods, distinguished from later ones with their numbers."""
    found = set()
    for process in lab._machine.group.processes():
        with suppress(OSError):
            if Path(f"/proc/{process.pid}/cmdline").read_bytes() == POD_RUNS:
                found.add(process)
    return found


def wait_out(plugin: Plugin, seconds: float) -> None:
    """Let a time pass that is the point of the test; the plugin lives all the while."""
    ends = monotonic() + seconds
    while monotonic() < ends:
        assert plugin.running
        sleep(min(1.0, max(0.0, ends - monotonic())))


@pytest.mark.timeout(AWAY_SECONDS + 300, func_only=True)
def test_while_it_is_away_nothing_is_disturbed_and_then_the_slice_is_right_again(
    lab: Lab, tmp_path: Path
) -> None:
    with published(lab, tmp_path) as plugin:
        lab.run_pod(claimant(lab, "holder", "5Mi"))
        before, running = uid(lab), processes(lab)
        assert len(running) == 1
        lab.control_plane_stop()
        began = monotonic()
        try:
            # It would be published at once.
            plugin.play(pods=10 * UNIT_BYTES, others=OTHERS * UNIT_BYTES)
            wait_until("it is reported", lambda: plugin.count("api_server_failed"), 30)
            wait_out(plugin, AWAY_SECONDS - (monotonic() - began))
            assert processes(lab) == running
        finally:
            lab.control_plane_start()
        back = monotonic()
        wait_until("the slice follows", lambda: memory(lab) == "50Mi", RIGHT_AGAIN_SECONDS)
        seconds = monotonic() - back
        lab.kubelet_start()
        assert uid(lab) == before
        assert processes(lab) == running
        holder = lab.get("pod", "holder")
        assert phase(holder) == "Running"
        assert lab.restarts("holder") == 0
        assert units_in(lab, "holder") == "10"
        (failed,) = plugin.events("api_server_failed")
        assert "can't be reached" in failed["error"]
        wait_until("told once", lambda: plugin.count("api_server_recovered"), 30)
        (recovered,) = plugin.events("api_server_recovered")
        told = [event["event"] for event in plugin.events() if event["level"] in WORSE_THAN_INFO]
        print(
            f"\naway for {back - began:.0f} s: warnings and errors {told}, "
            f"{recovered['after_rounds']} rounds failed; the slice was right {seconds:.1f} s after "
            "the API server was ready"
        )
        assert sorted(told) == ["api_server_failed", "shortage", "simulated_tee"]
        plugin.play(pods=0, others=0)
        lab.delete_pod("holder")
        # The kubelet notices with a back-off of its own.
        wait_until(
            "its claim is given back", lambda: plugin.count("claim_unprepared"), KUBELET_SECONDS
        )
        wait_for_slice(lab, UNITS)
        lab.run_pod(claimant(lab, "next", "32Mi"))
