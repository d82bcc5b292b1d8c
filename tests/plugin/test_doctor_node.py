"""`doctor` on what is broken between the TEE's units and the registration; see test_doctor."""

import asyncio
import shlex
import signal
import socket
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from teeplugin.simulator import OLD, SimulatedKubelet
from teeplugin_backends.base import Result
from tests.doctor_node import (
    UNITS,
    Node,
    doctor,
    free_address,
    made_node,  # noqa: F401 - the fixture `node`
    made_stopped,  # noqa: F401 - the fixture `stopped`
)
from tests.doctoring import broken, command_in, examined, mended, warned
from tests.http import telemetry_of
from tests.plugin_process import UNIT_BYTES

pytestmark = pytest.mark.anyio


# The node


@pytest.mark.parametrize("path", ["dev/teelog", "dev/tc_ns_cvm", "var/itrustee/teecd"])
async def test_something_that_containers_need_is_missing(node: Node, path: str) -> None:
    there = node.kubelet.host_root / path
    there.unlink()
    fix = broken(await node.examined(), "containers", f"/{path}, which containers need")
    assert "start its daemon" in fix
    there.touch()
    mended(await node.examined(), "containers")


async def test_no_directory_for_plugins(stopped: Node) -> None:
    elsewhere = stopped.kubelet.kubelet_dir / "elsewhere"
    elsewhere.mkdir()
    report = await stopped.examined("--kubelet-dir", elsewhere)
    fix = broken(report, "kubelet-directory", f"there is no directory {elsewhere}/device-plugins")
    assert report.of("kubelet-socket").result is Result.NOT_APPLICABLE
    assert "leave --kubelet-dir out" in fix
    await stopped.starts()
    report = await stopped.examined("--kubelet-dir", stopped.kubelet.kubelet_dir)
    mended(report, "kubelet-directory")


# A group that may write is no weakness where it is the user's own: tests/unit has all cases.
@pytest.mark.parametrize("mode", [0o757, 0o772])
async def test_a_directory_that_others_may_write_to(stopped: Node, mode: int) -> None:
    stopped.directory.chmod(mode)
    stopped.plugin.start()
    told = await stopped.plugin.logged("not_registered")
    assert "must be writable for its owner only" in told["error"]
    fix = broken(await stopped.examined(), "kubelet-directory", "must be writable for its owner")
    command = command_in(fix, "chmod")
    assert told["error"].endswith(f": {shlex.join(command)}")
    await anyio.run_process(command)
    # By itself: the plugin looks every second.
    await stopped.kubelet.has(UNITS)
    mended(await stopped.examined(), "kubelet-directory")


async def test_a_directory_below_one_that_others_may_write_to(node: Node) -> None:
    node.directory.parent.chmod(0o777)
    fix = broken(await node.examined(), "kubelet-directory", f"{node.directory.parent} is drwx")
    await anyio.run_process(command_in(fix, "chmod"))
    mended(await node.examined(), "kubelet-directory")


async def test_no_kubelet(node: Node) -> None:
    await node.kubelet.stop()
    # A real one leaves its socket, and so does this.
    fix = broken(await node.examined(), "kubelet-socket", "no process listens at")
    assert "start the kubelet" in fix
    (node.directory / "kubelet.sock").unlink()
    broken(await node.examined(), "kubelet-socket", "there is no")
    await node.kubelet.start()
    await node.kubelet.has(UNITS)
    report = await node.examined()
    mended(report, "kubelet-socket")
    mended(report, "registration")


async def test_sockets_of_plugins_that_were_killed(stopped: Node) -> None:
    for name in ("tee-ram-0badc0de.sock", "tee-ram.sock"):
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(stopped.directory / name))
    fix = warned(await stopped.examined(), "stale-sockets", "tee-ram-0badc0de.sock")
    assert (stopped.directory / "tee-ram.sock").is_socket(), "doctor removes nothing"
    await anyio.run_process(command_in(fix, "rm"))
    mended(await stopped.examined(), "stale-sockets")


# The plugin


async def test_no_plugin(stopped: Node) -> None:
    report = await stopped.examined()
    assert broken(report, "plugin", "no plugin listens").startswith("start it")
    assert report.failures == ("plugin",)
    mended(report, "telemetry")  # its port is free
    await stopped.starts()
    mended(await stopped.examined(), "plugin")


async def test_the_original_plugin(stopped: Node) -> None:
    with socket.socket(socket.AF_UNIX) as original:
        original.bind(str(stopped.directory / "tee-ram.sock"))
        original.listen()
        fix = broken(await stopped.examined(), "plugin", "the original plugin listens at")
        assert "remove its DaemonSet or stop its process" in fix
    await stopped.starts()
    mended(await stopped.examined(), "plugin")


async def test_a_kubelet_that_doesnt_register_the_plugin(stopped: Node) -> None:
    await stopped.kubelet.kill()
    (stopped.directory / "kubelet.sock").unlink()

    async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    mute = await asyncio.start_unix_server(hangs_up, stopped.directory / "kubelet.sock")
    async with mute:
        stopped.plugin.start()
        await stopped.plugin.logged("not_registered")
        await telemetry_of(stopped.plugin)
        report = await stopped.examined()
        mended(report, "kubelet-socket")
        fix = broken(report, "registration", "the kubelet can't be reached at")
        assert "see not_registered in the log" in fix
    (stopped.directory / "kubelet.sock").unlink(missing_ok=True)
    await stopped.kubelet.start()
    await stopped.kubelet.has(UNITS)
    mended(await stopped.examined(), "registration")


@pytest.mark.slow
async def test_units_that_a_shortage_has_marked(node: Node) -> None:
    node.plugin.play(others=20 * UNIT_BYTES)
    await node.plugin.logged("shortage")
    report = await node.examined()
    assert "reserve" in warned(report, "listed-units", "108 of 128 units are healthy")
    warned(report, "reserve", "20 of 128 units have no memory behind them")
    node.plugin.play(others=0)
    await node.plugin.logged("shortage_eased")
    await node.kubelet.has(UNITS)
    mended(await node.examined(), "listed-units")


async def test_a_kubelet_without_pod_resources(kubelet_dir: Path) -> None:
    flags = ("--kubelet-dir", kubelet_dir, "--listen", "off", "--backend", "simulated")
    async with SimulatedKubelet(kubelet_dir, profile=OLD) as kubelet:
        fix = warned(await examined(*flags), "pod-resources", "is missing: no shortage is shown")
        assert fix.startswith("start the kubelet, which creates it; ")
        await kubelet.stop()
        kubelet.profile = replace(OLD, serves_pod_resources=True)
        await kubelet.start()
        mended(await examined(*flags), "pod-resources")


async def test_a_pod_resources_that_is_no_such_thing(node: Node) -> None:
    records = node.kubelet.kubelet.pod_resources_socket
    records.unlink()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(records))
        warned(await node.examined(), "pod-resources", "doesn't answer")
    records.unlink()
    await node.kubelet.stop()
    await node.kubelet.start()
    await node.kubelet.has(UNITS)
    mended(await node.examined(), "pod-resources")


async def test_somebody_else_at_the_telemetrys_port(stopped: Node) -> None:
    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")
        writer.close()
        await writer.wait_closed()

    host, port = stopped.listen.split(":")
    async with await asyncio.start_server(answers, host, int(port)):
        stopped.plugin.start()
        await stopped.kubelet.has(UNITS)
        fix = broken(await stopped.examined(), "telemetry", "is not a tee-device-plugin")
        assert "stop the process that listens there" in fix
    await telemetry_of(stopped.plugin)
    mended(await stopped.examined(), "telemetry")


async def test_a_telemetry_address_of_another_machine(node: Node) -> None:
    report = await node.examined("--listen", "192.0.2.1:9840")
    fix = broken(report, "telemetry", "is not an address of this machine")
    assert ":PORT means all addresses" in fix
    mended(await node.examined("--listen", f":{node.listen.split(':')[1]}"), "telemetry")


async def test_another_telemetry_address_than_the_plugins(node: Node) -> None:
    report = await node.examined("--listen", free_address())
    fix = warned(report, "telemetry", "a plugin runs, but no server answers")
    assert "the plugin's --listen" in fix
    mended(await node.examined("--listen", node.listen), "telemetry")
    text = "the kubelet has 128 healthy units of huawei.com/tee-ram"
    assert report.of("registration").text == text


async def test_a_plugin_whose_process_hangs(node: Node) -> None:
    node.plugin.signal(signal.SIGSTOP)
    shown = await doctor(*node.flags)
    assert shown.returncode == 1
    told = " ".join(shown.stdout.split())
    assert "begin with plugin" in told
    assert f"process {node.plugin.pid}, the plugin, hangs: it listens at tee-ram-" in told
    assert "see plugin: its process hangs" in told
    report = await node.examined()
    words = command_in(broken(report, "plugin", "and did not answer within 2 s"), "kill")
    assert words == ["kill", "-9", str(node.plugin.pid)]
    node.plugin.signal(signal.SIGCONT)
    mended(await node.examined(), "plugin")


async def test_a_kubelet_that_is_down_is_what_every_line_names(node: Node) -> None:
    await node.kubelet.admit("vault", 10)
    await node.kubelet.kill()
    report = await node.examined()
    broken(report, "kubelet-socket", "kubelet.sock")
    assert "start the kubelet" in warned(report, "pod-resources", "the kubelet is down, so")
    await node.kubelet.start()
    await node.kubelet.has(UNITS)
    mended(await node.examined(), "pod-resources")
