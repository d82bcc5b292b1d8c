"""The whole plugin in DRA mode: a kubelet that finds it, an API server that it publishes to."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from teeplugin.dra.resources import FAULT_TAINT, slice_name
from tests.dra_api_server import FakeApiServer, api_server
from tests.dra_claims import POOL, claim, reference, result
from tests.dra_kubelet import DraKubelet, dra_kubelet
from tests.http import ANY_PORT, get, telemetry_of
from tests.plugin_process import UNIT_BYTES, Plugin, plain_environment
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

UNITS = 128
NAME = slice_name(POOL)


@asynccontextmanager
async def world(kubelet_dir: Path) -> AsyncIterator[tuple[FakeApiServer, DraKubelet]]:
    async with api_server() as server, dra_kubelet(kubelet_dir) as kubelet:
        yield server, kubelet


def plugin(kubelet_dir: Path, directory: Path, server: FakeApiServer, name: str = "p") -> Plugin:
    """The plugin, not yet started, with a kubeconfig of the server."""
    kubeconfig = directory / "kubeconfig"
    cluster = {"server": f"http://127.0.0.1:{server.port}"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "it", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "current-context": "it",
    }
    kubeconfig.write_text(json.dumps(config))
    flags = ("--serve", "dra", "--node-name", POOL, "--health-interval", "0.1")
    one = Plugin(
        directory,
        kubelet_dir=kubelet_dir,
        host_root=Path("/"),
        flags=flags,
        units=UNITS,
        name=name,
        access="none",
        listen=ANY_PORT,
    )
    one.environment["KUBECONFIG"] = str(kubeconfig)
    return one


def seen(server: FakeApiServer) -> tuple[str, list[str]] | None:
    """The capacity of the stored slice, and its taints' keys."""
    if NAME not in server.slices:
        return None
    (device,) = server.slices[NAME]["spec"]["devices"]
    taints = [taint["key"] for taint in device.get("taints", ())]
    return device["capacity"]["memory"]["value"], taints


async def published(server: FakeApiServer, memory: str, *taints: str) -> None:
    await eventually(f"{memory} is published", lambda: seen(server) == (memory, list(taints)), 20)


async def test_a_node_is_published_claimed_and_survives_a_fault(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    async with world(kubelet_dir) as (server, kubelet):
        with plugin(kubelet_dir, tmp_path, server) as one:
            await published(server, "64Mi")
            await eventually("registered", lambda: kubelet.infos)
            server.claims["one"] = claim("uid-one", result("5Mi"))
            (answer,) = (await kubelet.prepare(reference("one"))).values()
            assert answer.devices[0].cdi_device_ids == ["tee.huawei.com/units=10"]
            one.play(fault="unreachable")
            await published(server, "64Mi", FAULT_TAINT)
            health = await anext(kubelet.health("v1"))
            assert "a simulated fault" in health.message
            server.claims["two"] = claim("uid-two")
            (answer,) = (await kubelet.prepare(reference("two"))).values()
            assert "the TEE has a fault" in answer.error
            assert not (await kubelet.unprepare(reference("one")))["uid-one"].error
            one.play(fault="none")
            await published(server, "64Mi")
            assert one.stop() == 0
        # It stays for a successor; the kubelet deletes it where none comes.
        assert NAME in server.slices
        assert not kubelet.infos or await eventually("gone", lambda: not kubelet.infos)


async def test_telemetry_tells_of_the_slice_and_the_claims(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    async with world(kubelet_dir) as (server, kubelet):
        with plugin(kubelet_dir, tmp_path, server) as one:
            await published(server, "64Mi")
            await eventually("registered", lambda: kubelet.infos)
            server.claims["one"] = claim("uid-one", result("5Mi"))
            await kubelet.prepare(reference("one"))
            address = await telemetry_of(one)
            page = (await get(address, "/metrics")).text
            for line in (
                f'slice_capacity_bytes{{resource="huawei.com/tee-ram"}} {UNITS * UNIT_BYTES}',
                'claim_preparations_total{resource="huawei.com/tee-ram",result="ok"} 1',
                'slice_publications_total{resource="huawei.com/tee-ram"} 1',
                'api_server_reachable{resource="huawei.com/tee-ram"} 1',
                'node_served{resource="huawei.com/tee-ram"} 1',
                'registered{resource="huawei.com/tee-ram"} 1',
            ):
                assert f"teeplugin_{line}".split()[0] in page
            assert "watch_streams" not in page
            status = json.loads((await get(address, "/status")).text)
            assert status["serve"] == "dra"
            assert status["dra"] == {
                "slice": NAME,
                "published_bytes": UNITS * UNIT_BYTES,
                "taints": [],
                "problem": None,
                "api_error": None,
            }
            for path in ("/livez", "/readyz"):
                assert (await get(address, path)).status == 200
            asked = await anyio.run_process(
                [sys.executable, "-m", "teeplugin", "status", "--listen", address],
                check=False,
                env=plain_environment(),
            )
            told = asked.stdout.decode()
            assert asked.returncode == 0, told
            assert f"slice       {NAME}, 64 MiB\n" in told
            assert "kubelet     has the driver registered\n" in told


async def test_a_killed_plugins_successor_unprepares_at_once_also_without_a_tee(
    kubelet_dir: Path, tmp_path: Path
) -> None:
    async with world(kubelet_dir) as (server, kubelet):
        with plugin(kubelet_dir, tmp_path, server) as one:
            await published(server, "64Mi")
            uid = server.slices[NAME]["metadata"]["uid"]
            await eventually("registered", lambda: kubelet.infos)
            killed = set(kubelet.infos)
            one.kill()
        with plugin(kubelet_dir, tmp_path, server, "q") as two:
            two.play(fault="unreachable")
            await eventually("registered", lambda: kubelet.infos.keys() - killed)
            assert not (await kubelet.unprepare(reference("one")))["uid-one"].error
            await published(server, "64Mi", FAULT_TAINT)
            assert server.slices[NAME]["metadata"]["uid"] == uid


def test_without_dra_none_of_it_is_loaded(tmp_path: Path) -> None:
    """Neither the package nor the API client nor what that brings along."""
    script = """
import sys
from pathlib import Path
from teeplugin.config.settings import Settings
from teeplugin.daemon.parts import assemble
import teeplugin.daemon.run, teeplugin.telemetry.server
from teeplugin_backends.simulated import SimulatedTee
assemble(Settings(backend="simulated"), SimulatedTee.from_options({}))
heads = ("teeplugin.dra", "teeplugin.daemon.dra", "teeplugin.api.dra", "lightkube", "httpx")
print([name for name in sys.modules if name.startswith(heads)])
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=30,
    )
    assert ran.stdout == "[]\n"


def test_without_the_extra_one_line_says_what_to_install(kubelet_dir: Path) -> None:
    script = """
import sys
sys.modules["lightkube"] = None
import teeplugin.cli.main as cli
raise SystemExit(cli.main())
"""
    flags = ["--serve", "dra", "--backend", "simulated", "--kubelet-dir", str(kubelet_dir)]
    ran = subprocess.run(
        [sys.executable, "-c", script, *flags, "--listen", "off"],
        capture_output=True,
        text=True,
        check=False,
        env=plain_environment(),
        timeout=30,
    )
    assert ran.returncode == 2
    assert ran.stderr == (
        "tee-device-plugin: --serve dra: the package lightkube is not installed: install the "
        "extra teeplugin[dra], or give --serve device-plugin\n"
    )
