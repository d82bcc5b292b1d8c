"""`tee-device-plugin status` of a plugin that runs, and of none."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.contract.under_test import Simulated
from tests.http import ANY_PORT, telemetry_of
from tests.plugin_process import UNIT_BYTES

pytestmark = pytest.mark.anyio

UNITS = 128


async def status(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "teeplugin", "status", *words]
    result = await anyio.run_process(command, check=False)
    return subprocess.CompletedProcess(
        command, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


@pytest.mark.slow
async def test_it_tells_units_holders_and_events(kubelet: Simulated, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("vault", 10)
        plugin.play(pods=10 * UNIT_BYTES, others=20 * UNIT_BYTES)
        await plugin.logged("shortage")
        await plugin.logged("units_allocated")
        shown = await status("--listen", await telemetry_of(plugin))
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[0] == "huawei.com/tee-ram, 512 KiB a unit, backend simulated"
    assert lines[1] == "units       128 listed, 108 healthy, 10 allocated, 20 unhealthy (shortage)"
    assert "64 MiB in all, 49 MiB free" in lines[2]
    assert "external use at least 10 MiB" in lines[2]
    assert "kubelet     watches the list" in lines
    assert any(line.split()[:2] == ["10", "default/vault"] for line in lines)
    assert any(" warning shortage units=20 was=0 " in line for line in lines)


async def test_a_failed_tee_is_told_with_cause_and_fix_and_the_exit_status(
    kubelet: Simulated, tmp_path: Path
) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        address = await telemetry_of(plugin)
        plugin.play(fault="unreachable")
        await kubelet.has(0)
        shown = await status("--listen", address)
        told = json.loads((await status("--format", "json", f"--listen={address}")).stdout)
    assert shown.returncode == 1
    assert "0 healthy, 0 allocated, 128 unhealthy (unreachable)" in shown.stdout
    assert "unreachable: a simulated fault, as the options say: check that" in shown.stdout
    assert told["cause"]["confirmed"] is True
    assert told["units"]["unhealthy_cause"] == "unreachable"
    assert told["events"][-1]["event"] == "tee_unhealthy"


async def test_a_tee_that_never_answered_is_told(kubelet: Simulated, tmp_path: Path) -> None:
    plugin = kubelet.plugin(tmp_path, listen=ANY_PORT)
    plugin.play(fault="hang")
    with plugin:
        shown = await status("--listen", await telemetry_of(plugin))
    assert shown.returncode == 1
    assert "units       0 listed, 0 healthy" in shown.stdout
    assert "TEE         has not answered yet" in shown.stdout
    assert "holders     none" in shown.stdout


async def test_nobody_there_is_one_line_with_the_fix() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shown = await status("--listen", address)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == (
        f"tee-device-plugin: --listen {address}: no plugin answers (Connection refused): "
        "start the plugin, or give the address in its log line telemetry_listening\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        b'content-length: 13\r\n\r\n{"units": {}}',
        b"content-length: 1000000000000000000000000\r\n\r\n{",
        b"\r\n" + b"[" * 50_000,
    ],
    ids=["other keys", "a length beyond all", "too deep for json"],
)
async def test_somebody_else_there_is_told_apart(body: bytes) -> None:
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra_attributes[anyio.abc.SocketAttribute.local_port]()

        async def answer(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(b"HTTP/1.1 200 OK\r\n" + body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, answer)
            shown = await status("--listen", f"127.0.0.1:{port}")
            tasks.cancel_scope.cancel()
    assert shown.returncode == 2
    assert "the server there is not a tee-device-plugin" in shown.stderr


async def test_an_address_that_is_off_is_told() -> None:
    shown = await status("--listen", "off")
    assert shown.returncode == 2
    assert "--listen off: the plugin has no telemetry: give it an address" in shown.stderr


@pytest.mark.slow
async def test_units_that_are_all_short_are_not_well(kubelet: Simulated, tmp_path: Path) -> None:
    with kubelet.plugin(tmp_path, listen=ANY_PORT) as plugin:
        await kubelet.has(UNITS)
        await kubelet.admit("vault", 10)
        plugin.play(others=UNITS * UNIT_BYTES)
        await kubelet.has(10)
        shown = await status("--listen", await telemetry_of(plugin))
    assert shown.returncode == 1
    assert "10 healthy, 10 allocated, 118 unhealthy (shortage)" in shown.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["extra"], "extra: is not a flag: tee-device-plugin status --help lists them"),
        (["--print-config"], "--print-config: is a flag of the daemon only"),
    ],
)
async def test_words_that_status_does_not_take_are_told(words: list[str], says: str) -> None:
    shown = await status(*words)
    assert shown.returncode == 2
    assert says in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
