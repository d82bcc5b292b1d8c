"""Settings that change while the plugin runs: by SIGHUP, by their file, by a ConfigMap's links."""

import json
import signal
from pathlib import Path

import pytest

from teeplugin.commands.status import lines
from tests.contract.under_test import Simulated
from tests.http import ANY_PORT, get, telemetry_of
from tests.plugin_process import UNIT_BYTES, Plugin

pytestmark = pytest.mark.anyio

UNITS = 128
FIRST = "health-interval: 0.1\nreserve: 0\nprecision: 512\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file as a ConfigMap's mount has it: a link to one in a folder that is replaced."""
    volume = tmp_path / "volume"
    volume.mkdir()
    publish(volume, FIRST)
    (volume / "plugin.yaml").symlink_to("..data/plugin.yaml")
    return volume / "plugin.yaml"


def publish(volume: Path, text: str) -> None:
    """Replace the folder behind the links in one step, as the kubelet does."""
    folder = volume / f"..{len(list(volume.iterdir()))}"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(text)
    (volume / "..new").symlink_to(folder.name)
    (volume / "..new").replace(volume / "..data")


def reading(kubelet: Simulated, directory: Path, file: Path) -> Plugin:
    return kubelet.plugin(directory, flags=("--config", str(file)), listen=ANY_PORT)


async def test_a_new_reserve_is_in_force_after_sighup(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    with reading(kubelet, tmp_path, file) as plugin:
        await kubelet.has(UNITS)
        publish(file.parent, f"health-interval: 60\nreserve: {28 * UNIT_BYTES}\n")
        plugin.signal(signal.SIGHUP)
        entry = await plugin.logged("settings_changed")
        assert entry["settings"] == ["health-interval", "reserve"]
        await kubelet.has(UNITS - 28)


@pytest.mark.slow
async def test_a_replaced_file_is_noticed_without_being_told(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    with reading(kubelet, tmp_path, file) as plugin:
        await kubelet.has(UNITS)
        publish(file.parent, FIRST + "log-level: debug\n")
        entry = await plugin.logged("settings_changed", deadline_seconds=20)
        assert entry["settings"] == ["log-level"]
        plugin.play(fault="bug")
        assert (await plugin.logged("backend_bug"))["level"] == "debug"


async def test_what_can_not_change_waits_for_a_restart_and_the_rest_changes(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    with reading(kubelet, tmp_path, file) as plugin:
        await kubelet.has(UNITS)
        publish(
            file.parent,
            "health-interval: 0.1\nreserve: 4M\nprecision: 1024\nresource-name: a.example/other\n",
        )
        plugin.signal(signal.SIGHUP)
        entry = await plugin.logged("settings_need_restart")
        assert entry["settings"] == ["precision", "resource-name"]
        await kubelet.has(UNITS - 8)
        address = await telemetry_of(plugin)
        told = json.loads((await get(address, "/status")).text)
        assert told["settings_waiting"] == {
            "precision": "1024",
            "resource-name": "a.example/other",
        }
        assert (told["settings"]["precision"], told["settings"]["reserve"]) == ("512", "4MiB")
        metric = 'settings_need_restart{resource="huawei.com/tee-ram"} 2.0'
        assert metric in (await get(address, "/metrics")).text
        waits = "settings    need a restart of the plugin: precision 512 → 1024, resource-name "
        assert waits in "\n".join(lines(told))
        plugin.stop()
    assert plugin.count("reload_rejected") == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("precision: 1\n", ["line 1", "precision: 1", "512 or more"]),
        ("reserve: 4M\nhealth-interval: -1\n", ["line 2", "health-interval: -1"]),
        ("reserve: [\n", ["plugin.yaml"]),
        ("reserve: 64M\nhealth-interval: 0.1\n", ["--reserve 64MiB", "nothing is left"]),
        ("", ["plugin.yaml", "is empty", "write at least a comment"]),
        (" \n\n", ["plugin.yaml", "is empty"]),
        ("\0" * 512, ["plugin.yaml", "is empty"]),
    ],
    ids=["rule", "second value", "no yaml", "does not fit the TEE", "empty", "blank", "zeros"],
)
async def test_settings_with_a_mistake_leave_everything_as_it_was(
    kubelet: Simulated, tmp_path: Path, file: Path, text: str, words: list[str]
) -> None:
    with reading(kubelet, tmp_path, file) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        publish(file.parent, text)
        plugin.signal(signal.SIGHUP)
        entry = await plugin.logged("reload_rejected")
        assert [word for word in words if word not in entry["error"]] == []
        assert (
            'config_last_reload_successful{resource="huawei.com/tee-ram"} 0.0'
            in (await get(address, "/metrics")).text
        )
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
        publish(file.parent, f"health-interval: 0.1\nreserve: {UNIT_BYTES}\n")
        plugin.signal(signal.SIGHUP)
        await kubelet.has(UNITS - 1)
        assert plugin.events("settings_changed")[-1]["settings"] == ["reserve"]


async def test_comments_alone_are_all_defaults(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    with reading(kubelet, tmp_path, file) as plugin:
        await kubelet.has(UNITS)
        publish(file.parent, f"reserve: {UNIT_BYTES}\n")
        plugin.signal(signal.SIGHUP)
        await kubelet.has(UNITS - 1)
        publish(file.parent, "# as it comes\n")
        plugin.signal(signal.SIGHUP)
        await kubelet.has(UNITS)


SLOW_WITH_A_RESERVE = """
import anyio
from teeplugin_backends.simulated import SimulatedTee

answer = SimulatedTee.memory

async def memory(self):
    await anyio.sleep(0.3)
    return await answer(self)

SimulatedTee.memory, SimulatedTee.default_reserve_bytes = memory, {reserve_bytes}
"""


def slow_with_a_reserve(units: int, plugin: Plugin) -> Plugin:
    """Have the plugin's backend take its time, and have a reserve of its own."""
    plugin.patch(SLOW_WITH_A_RESERVE.format(reserve_bytes=units * UNIT_BYTES))
    return plugin


async def test_a_reserve_that_goes_is_the_backends_own_at_once(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    publish(file.parent, f"health-interval: 0.1\nreserve: {64 * UNIT_BYTES}\n")
    with slow_with_a_reserve(28, reading(kubelet, tmp_path, file)) as plugin:
        await kubelet.has(UNITS - 64)
        publish(file.parent, "health-interval: 0.1\n")
        # A reading is nearly always under way.
        plugin.signal(signal.SIGHUP)
        await kubelet.has(UNITS - 28)
        assert [entry["units"] for entry in plugin.events("capacity_changed")] == [UNITS - 28]


async def test_the_backends_own_reserve_must_fit_as_well(
    kubelet: Simulated, tmp_path: Path, file: Path
) -> None:
    publish(file.parent, "health-interval: 0.1\nreserve: 0\n")
    with slow_with_a_reserve(UNITS, reading(kubelet, tmp_path, file)) as plugin:
        await kubelet.has(UNITS)
        publish(file.parent, "health-interval: 0.1\n")
        plugin.signal(signal.SIGHUP)
        assert "nothing is left" in (await plugin.logged("reload_rejected"))["error"]
        await plugin.logged("registered", 2)
        await kubelet.has(UNITS)
