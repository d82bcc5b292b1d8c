"""The plugin as a process: its signals, its ends, and what it leaves behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.contract.under_test import ACCESS_PATHS, Simulated
from tests.plugin_process import Plugin
from tests.usage import Usage
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNITS = 128
END_SECONDS = 2


def ended_well(plugin: Plugin, number: signal.Signals) -> None:
    began = monotonic()
    plugin.signal(number)
    assert plugin.wait(END_SECONDS) == 0
    assert monotonic() - began < END_SECONDS
    assert plugin.events()[-1]["event"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_well_when_asked_to(
    kubelet: Simulated, tmp_path: Path, number: signal.Signals
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        ended_well(plugin, number)
    assert [path.name for path in kubelet.device_plugins_dir.iterdir()] == ["kubelet.sock"]


async def test_being_asked_over_and_over_it_ends_as_well(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)

        def ask() -> bool:
            plugin.signal(signal.SIGTERM)
            plugin.signal(signal.SIGHUP)
            return not plugin.running

        await eventually("the end", ask)
        assert plugin.wait() == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGHUP, None)], ids=["term", "hup"]
)
async def test_a_signal_that_comes_before_the_loop_is_answered_as_well(
    kubelet: Simulated, tmp_path: Path, number: signal.Signals, status: int | None
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        # One of the first things it does; the loop comes hundreds of milliseconds later.
        await eventually("SIGTERM is handled", lambda: _catches(plugin.pid, signal.SIGTERM))
        plugin.signal(number)
        if status is None:
            await kubelet.has(UNITS)
        else:
            assert plugin.wait(END_SECONDS) == status


def _catches(pid: int, number: signal.Signals) -> bool:
    mask = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(mask, 16) >> (number - 1) & 1)


async def test_a_hanging_tee_stops_neither_the_loop_nor_allocate_nor_the_end(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        plugin.play(fault="hang")
        for pod in range(10):
            began = monotonic()
            await kubelet.admit(f"pod-{pod}", 2)
            assert monotonic() - began < 1
        usage = Usage.of(plugin.pid)
        # The loop's and the watchdog's.
        assert (usage.threads, usage.children) == (2, 0)
        ended_well(plugin, signal.SIGTERM)
    assert not list(kubelet.device_plugins_dir.glob("tee-ram-*.sock"))


async def test_a_tee_that_hangs_from_the_start_is_no_not_registered_reason_to_the_end(
    kubelet: Simulated, tmp_path: Path
) -> None:
    plugin = kubelet.plugin(tmp_path)
    plugin.play(fault="hang")
    with plugin:
        await plugin.logged("starting")
        ended_well(plugin, signal.SIGTERM)
        assert plugin.count("registered") == 0


async def test_without_any_kubelet_it_waits_and_ends_well(
    kubelet: Simulated, tmp_path: Path
) -> None:
    await kubelet.stop()
    with kubelet.plugin(tmp_path) as plugin:
        await plugin.logged("not_registered")
        ended_well(plugin, signal.SIGTERM)


async def test_a_tee_that_never_answered_is_not_registered_until_it_does(
    kubelet: Simulated, tmp_path: Path
) -> None:
    plugin = kubelet.plugin(tmp_path)
    plugin.play(fault="unreachable")
    with plugin:
        entry = await plugin.logged("tee_unhealthy")
        assert entry["cause"] == "unreachable"
        assert not list(kubelet.device_plugins_dir.glob("tee-ram-*.sock"))
        plugin.play(fault="none")
        await kubelet.has(UNITS)


async def test_a_missing_device_node_takes_the_node_out_and_names_it(
    kubelet: Simulated, tmp_path: Path
) -> None:
    node = kubelet.host_root / ACCESS_PATHS[1].lstrip("/")
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        node.unlink()
        await kubelet.has(0)
        entry = await plugin.logged("tee_unhealthy")
        assert ACCESS_PATHS[1] in entry["error"]
        node.touch()
        await kubelet.has(UNITS)


async def test_with_interval_0_only_sighup_asks_again(kubelet: Simulated, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path, flags=("-internal", "0")) as plugin:
        await kubelet.has(UNITS)
        assert plugin.count("health_checks_off") == 1
        plugin.play(total=64 * 512 * 1024)
        plugin.signal(signal.SIGHUP)
        await kubelet.has(64)


async def test_the_log_names_who_takes_units_and_who_gives_them_back(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        for pod, units in (("stays", 2), ("goes", 3)):
            await kubelet.admit(pod, units)
        await plugin.logged("units_allocated", 2)
        taken = {entry["pod"]: entry["units"] for entry in plugin.events("units_allocated")}
        assert taken == {"stays": 2, "goes": 3}
        await kubelet.remove("goes")
        entry = await plugin.logged("units_released")
        assert (entry["pod"], entry["units"]) == ("goes", 3)
        # A kubelet that restarts knows of none at first: that is no giving back.
        await kubelet.kill()
        await kubelet.start()
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        await kubelet.admit("next", 3)
        await plugin.logged("units_allocated", 3)
        assert plugin.count("units_released") == 1
        plugin.stop()
    with kubelet.plugin(tmp_path, "second") as successor:
        entry = await successor.logged("units_allocated_at_start")
        assert (entry["containers"], entry["units"]) == (2, 5)
        assert successor.count("units_allocated") == 0


async def test_flips_leave_no_descriptor_behind(kubelet: Simulated, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path) as plugin:
        await kubelet.has(UNITS)
        before = Usage.of(plugin.pid).descriptors
        for restart in range(3):
            await kubelet.kill()
            await kubelet.start()
            await plugin.logged("registered", restart + 2)
            await kubelet.has(UNITS)
        await eventually(
            f"{before} descriptors",
            lambda: Usage.of(plugin.pid).descriptors,
            until=lambda now: now <= before,
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-precision", "512", "--backend-option", "total=110.7G"], ["total=110.7G", "64MiB"]),
        (["-precision", "512", "--backend-option", "total=200G"], ["-precision 512", "926"]),
        (["-precision", "70000"], ["-precision 70000", "65536 KB", "smaller"]),
        (["--reserve", "64M"], ["--reserve 64MiB", "nothing is left", "smaller"]),
        (["--kubelet-dir", "/nonexistent/" + "long/" * 20], ["--kubelet-dir"]),
    ],
)
def test_settings_that_do_not_fit_the_node_are_one_line_and_exit_2(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "teeplugin", "--backend", "simulated", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
        check=False,
    )
    assert result.returncode == 2
    # What only the TEE's answer shows comes after the start is logged.
    (last,) = [line for line in result.stderr.splitlines() if " event=" not in line]
    assert result.stderr.endswith(f"{last}\n")
    assert last.startswith("tee-device-plugin: ")
    assert all(word in last for word in words), last
    assert "Traceback" not in result.stderr


def test_a_path_too_long_for_a_socket_is_refused_before_anything(kubelet_dir: Path) -> None:
    deep = kubelet_dir / ("d" * 60) / ("e" * 20)
    (deep / "device-plugins").mkdir(parents=True)
    command = [sys.executable, "-m", "teeplugin", "--backend", "simulated"]
    result = subprocess.run(
        [*command, "--kubelet-dir", str(deep)],
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"TEEPLUGIN_LOG_LEVEL": "error"},
        check=False,
    )
    assert result.returncode == 2
    assert "107 bytes" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# A backend of another package, with a thread that can't be ended and an end that doesn't come.
_STUBBORN = """
import sys, threading, time
import anyio
from teeplugin.tee import entry_points as backends
from teeplugin.cli import main as cli
from teeplugin_backends.simulated import SimulatedTee

class Stubborn(SimulatedTee):
    async def memory(self):
        if self.script.pods:
            await anyio.to_thread.run_sync(time.sleep, 3600)
        return await super().memory()
    async def __aexit__(self, *_):
        await anyio.sleep_forever()

load = backends.load_backend
backends.load_backend = lambda name, options: Stubborn.from_options(options)
sys.exit(cli.main())
"""


@pytest.mark.parametrize("pods", ["0", "1M"])
async def test_a_stubborn_backend_does_not_keep_it_from_ending(
    kubelet: Simulated, tmp_path: Path, pods: str
) -> None:
    plugin = kubelet.plugin(tmp_path)
    plugin.command[1:3] = ["-c", _STUBBORN]
    plugin.command += ["--backend-option", f"pods={pods}"]
    plugin.state.unlink()
    with plugin:
        await plugin.logged("starting")
        plugin.signal(signal.SIGTERM)
        assert plugin.wait(END_SECONDS + 0.5) == 0
    assert not list(kubelet.device_plugins_dir.glob("tee-ram-*.sock"))
