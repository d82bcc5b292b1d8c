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

CONTROLLER_SECONDS = 120.0

OTHERS = 28
POD_RUNS = b"sleep\x00100000\x00"


def processes() -> set[Process]:
    """The pods' processes, which are told from later ones with their numbers."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            process = Process.running(int(entry.name))
            if process and (entry / "cmdline").read_bytes() == POD_RUNS:
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
        before, running = uid(lab), processes()
        assert len(running) == 1
        lab.api_server_stop()
        began = monotonic()
        try:
            # It would be published at once.
            plugin.play(pods=10 * UNIT_BYTES, others=OTHERS * UNIT_BYTES)
            wait_until("it is reported", lambda: plugin.count("api_server_failed"), 30)
            wait_out(plugin, AWAY_SECONDS - (monotonic() - began))
            assert processes() == running
        finally:
            lab.control_plane_start()
        back = monotonic()
        wait_until("the slice follows", lambda: memory(lab) == "50Mi", RIGHT_AGAIN_SECONDS)
        seconds = monotonic() - back
        lab.kubelet_start()
        assert uid(lab) == before
        assert processes() == running
        holder = lab.get("pod", "holder")
        assert phase(holder) == "Running"
        assert lab.restarts("holder") == 0
        assert units_in(lab, "holder") == "10"
        (failed,) = plugin.events("api_server_failed")
        assert "can't be reached" in failed["error"]
        wait_until("told once", lambda: plugin.count("api_server_recovered"), 30)
        (recovered,) = plugin.events("api_server_recovered")
        told = [event for event in plugin.events() if event["level"] in ("warning", "error")]
        print(
            f"\naway for {back - began:.0f} s: {len(told)} warnings and errors, "
            f"{recovered['after_rounds']} rounds failed; the slice was right {seconds:.1f} s after "
            "the API server was ready"
        )
        plugin.play(pods=0, others=0)
        lab.delete_pod("holder")
        wait_until("its claim is given back", lambda: plugin.count("claim_unprepared"), 30)
        wait_for_slice(lab, UNITS)
        lab.apply(claimant(lab, "next", "32Mi"))
        # The controller manager, which makes its claim, notices later that the API server is back.
        lab.wait_pod("next", "Running", CONTROLLER_SECONDS)
