"""`cdi: on`: TEE access comes by CDI or not at all, and what would hinder it is reported before."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from teeplugin.policy.cdi_spec import FILE
from teeplugin.simulator import ContainerStartError, SimulatedKubelet
from teeplugin.simulator.profile import MODERN, OLD
from tests.contract.under_test import Simulated
from tests.plugin_process import Plugin
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

UNITS = 128
FLAGS = ("--health-interval", "0.1", "--cdi", "on")


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    """Give a kubelet whose runtime looks into the node's /etc/cdi."""
    root = tmp_path / "node"
    directory = (root / FILE.lstrip("/")).parent
    directory.mkdir(parents=True)
    async with SimulatedKubelet(kubelet_dir, cdi_directory=directory) as simulated:
        yield Simulated(simulated, root)


def write_specification(kubelet: Simulated, *flags: str, units: int = UNITS) -> None:
    command = [sys.executable, "-m", "teeplugin", "cdi", "--backend", "simulated"]
    command += ["--backend-option", "access=itrustee", "--units", str(units), *flags]
    path = kubelet.host_root / FILE.lstrip("/")
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=30)
    fresh.rename(path)


async def unhealthy(plugin: Plugin, kind: str) -> dict[str, str]:
    event = await plugin.logged("tee_unhealthy")
    assert event["cause"] == kind
    assert event["fix"]
    return event


async def test_a_container_gets_its_access_its_figures_and_its_hook_by_cdi(
    kubelet: Simulated, tmp_path: Path
) -> None:
    write_specification(kubelet)
    with kubelet.plugin(tmp_path, flags=FLAGS):
        await kubelet.has(UNITS)
        admission = await kubelet.kubelet.admit("pod", 10)
    [grant] = admission.containers.values()
    assert grant.envs["TEE_RAM_BYTES"] == str(10 * 512 * 1024)
    assert [device.container_path for device in grant.devices] == ["/dev/teelog", "/dev/tc_ns_cvm"]
    assert [mount.container_path for mount in grant.mounts] == ["/var/itrustee/teecd"]
    assert {hook["hookName"]: hook["args"][-1] for hook in grant.hooks} == {
        "poststop": "clean",
        "createRuntime": "--memory=5120K",
    }


async def test_where_the_runtime_has_no_cdi_a_container_gets_nothing(
    kubelet: Simulated, tmp_path: Path
) -> None:
    write_specification(kubelet)
    kubelet.kubelet.cdi_directory = None
    with kubelet.plugin(tmp_path, flags=FLAGS):
        await kubelet.has(UNITS)
        admission = await kubelet.kubelet.admit("pod", 10)
    assert not admission.envs
    assert not admission.mounts
    assert not admission.devices


async def test_without_a_specification_the_units_are_unhealthy_until_there_is_one(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, flags=FLAGS) as plugin:
        event = await unhealthy(plugin, "cdi-specification")
        assert FILE in event["error"]
        await kubelet.has(0)
        write_specification(kubelet)
        await kubelet.has(UNITS)
        assert plugin.count("tee_recovered") == 1


@pytest.mark.parametrize(
    ("flags", "units", "words"),
    [
        ((), UNITS - 1, "has no device for 128 units"),
        (("-precision", "1024"), UNITS, "has units of 1 MiB, the settings have 512 KiB"),
    ],
)
async def test_a_specification_that_does_not_fit_is_told_before_a_pod_is_admitted(
    kubelet: Simulated, tmp_path: Path, flags: tuple[str, ...], units: int, words: str
) -> None:
    write_specification(kubelet, *flags, units=units)
    with kubelet.plugin(tmp_path, flags=FLAGS) as plugin:
        assert words in (await unhealthy(plugin, "cdi-specification"))["error"]
        await kubelet.has(0)


async def test_a_device_that_vanished_after_admission_starts_no_container(
    kubelet: Simulated, tmp_path: Path
) -> None:
    write_specification(kubelet)
    with kubelet.plugin(tmp_path, flags=("--health-interval", "60", "--cdi", "on")):
        await kubelet.has(UNITS)
        write_specification(kubelet, units=1)
        with pytest.raises(ContainerStartError, match="unresolvable CDI devices"):
            await kubelet.kubelet.admit("pod", 10)


async def test_more_units_than_amounts_are_refused_at_the_start(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, flags=FLAGS, units=2049) as plugin:
        await eventually("its end", lambda: not plugin.running)
        assert plugin.wait() == 2
    assert "makes 2049 units, and a CDI specification has at most 2048" in plugin.log.read_text()


async def test_a_kubelet_that_drops_cdi_devices_is_told_and_given_no_units(
    kubelet: Simulated, tmp_path: Path
) -> None:
    write_specification(kubelet)
    with kubelet.plugin(tmp_path, flags=FLAGS) as plugin:
        await kubelet.has(UNITS)
        [socket] = kubelet.device_plugins_dir.glob("tee-ram-*.sock")
        options = [("grpc.primary_user_agent", "grpc-go/1.56.3")]
        async with grpc.aio.insecure_channel(f"unix:{socket}", options=options) as channel:
            stream = channel.unary_stream("/v1beta1.DevicePlugin/ListAndWatch")(b"")
            assert await anext(aiter(stream))
            event = await unhealthy(plugin, "kubelet-without-cdi")
            assert "grpc-go/1.56" in event["error"]
            await kubelet.has(0)
        await kubelet.has(UNITS)


async def test_the_profiles_know_which_kubelets_pass_cdi_devices() -> None:
    assert MODERN.passes_cdi_devices
    assert not OLD.passes_cdi_devices
