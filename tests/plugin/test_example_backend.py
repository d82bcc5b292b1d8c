"""The example backend: its wheel beside the plugin, chosen by its name, on a simulated kubelet."""

import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from teeplugin.simulator import SimulatedKubelet
from tests.contract.under_test import Simulated
from tests.example_installed import TOTAL_BYTES, UNITS, WELL, ExamplePlugin, Installed

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

DEVICE = "/dev/acme-tee"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed.into(tmp_path_factory.mktemp("example"))


@pytest.fixture
async def kubelet(kubelet_dir: Path, tmp_path: Path) -> AsyncIterator[Simulated]:
    async with SimulatedKubelet(kubelet_dir) as simulated:
        kubelet = Simulated(simulated, tmp_path / "node")
        (kubelet.host_root / DEVICE.lstrip("/")).touch()
        yield kubelet


def plugin(directory: Path, example: Installed, kubelet: Simulated) -> ExamplePlugin:
    return ExamplePlugin(
        directory,
        example,
        kubelet_dir=kubelet.kubelet_dir,
        host_root=kubelet.host_root,
        device=DEVICE,
    )


@pytest.mark.slow
def test_its_own_tests_pass_where_only_its_wheel_is_installed(example: Installed) -> None:
    ran = subprocess.run(
        [example.python, "-P", "-m", "pytest", "-p", "no:cacheprovider"],
        cwd=example.source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    (summary,) = re.findall(r"=+ (.*) in .*s =+\n$", ran.stdout)
    assert re.fullmatch(r"[3-9]\d passed", summary)


async def test_it_is_chosen_by_its_name_and_its_units_are_listed_and_handed_out(
    example: Installed, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin(tmp_path, example, kubelet) as process:
        await kubelet.has(UNITS)
        (capacity,) = process.events("capacity")
        assert capacity["total_bytes"] == TOTAL_BYTES
        await kubelet.admit("pod", 10)
        handed = await kubelet.handed("pod")
        assert handed.devices == {DEVICE}
        assert handed.environment["ACME_TEE_DEVICE"] == DEVICE
        assert handed.environment["TEE_RAM_UNITS"] == "10"
        assert process.stop() == 0


async def test_its_fault_is_logged_and_listed_and_over_when_it_is_mended(
    example: Installed, kubelet: Simulated, tmp_path: Path
) -> None:
    with plugin(tmp_path, example, kubelet) as process:
        await kubelet.has(UNITS)
        process.run_as_program("echo the driver is not loaded >&2; exit 2")
        entry = await process.logged("tee_unhealthy")
        assert (entry["cause"], entry["error"]) == (
            "unreachable",
            "acme-tee: the driver is not loaded",
        )
        await kubelet.has(0)
        process.run_as_program(WELL)
        await process.logged("tee_recovered")
        await kubelet.has(UNITS)
        assert process.stop() == 0
        assert process.count("backend_bug") == 0


def test_it_plays_the_tour_and_its_access_is_what_pods_get(
    example: Installed, tmp_path: Path
) -> None:
    program = tmp_path / "acme-tee"
    program.write_text(f"#!/bin/sh\n{WELL}\n")
    program.chmod(0o755)
    (tmp_path / "dev").mkdir()
    (tmp_path / DEVICE.lstrip("/")).touch()
    options = ("--backend-option", f"command={program}", "--backend-option", f"device={DEVICE}")
    ran = subprocess.run(
        [
            *(example.python, "-m", "teeplugin", "simulate", "--backend", "acme", *options),
            *("--host-root", tmp_path, "--resource-name", "acme.example/tee-ram"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "the backend acme with 1 GiB in units of 512 KiB" in ran.stdout
    assert "acme.example/tee-ram registered" in ran.stdout
    assert f"{UNITS} of {UNITS} healthy" in ran.stdout
    assert f"device {DEVICE} rw, ACME_TEE_DEVICE={DEVICE}, TEE_RAM_BYTES=5242880" in ran.stdout
    assert "8 of 10 steps ok, 2 skipped" in ran.stdout


async def test_its_options_are_checked_before_anything_is_registered(
    example: Installed, kubelet: Simulated, tmp_path: Path
) -> None:
    process = plugin(tmp_path, example, kubelet)
    process.command += ["--backend-option", "colour=red"]
    with process:
        assert process.wait() == 2
    expected = "--backend acme: option colour=red: no such option: there are command and device"
    assert expected in process.log.read_text()
