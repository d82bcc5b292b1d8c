"""`doctor` beside a real plugin and the simulated kubelet: set-ups broken on purpose, and mended.

Each test breaks one thing, sees its line be the first that fails, does what the fix says, and sees
the line turn ok. What needs the vendor's library is in tests/tee/test_doctor.py.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from teeplugin.commands.doctor import backend_query
from teeplugin_backends.base import Result
from tests.doctor_node import (
    Node,
    doctor,
    made_node,  # noqa: F401 - the fixture `node`
    made_stopped,  # noqa: F401 - the fixture `stopped`
)
from tests.doctoring import broken, command_in, examined, flag_in, mended, warned
from tests.plugin_process import UNIT_BYTES

pytestmark = pytest.mark.anyio

# All is well


async def test_beside_a_plugin_that_is_well_nothing_fails(node: Node) -> None:
    await node.kubelet.admit("vault", 10)
    shown = await doctor(*node.flags)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[-1].endswith(", 1 warning, 3 not applicable: nothing failed")
    for words in (
        f"those of process {node.plugin.pid}, the plugin",
        "64 MiB in all, 64 MiB free; a reserve of 0 B leaves 64 MiB",
        "128 units of 512 KiB: a list of 1938 bytes",
        "the kubelet watches the list of huawei.com/tee-ram",
        "10 units of huawei.com/tee-ram are allocated to one container",
    ):
        assert words in " ".join(shown.stdout.split())
    assert f"process {node.plugin.pid} listens at tee-ram-" in " ".join(shown.stdout.split())


async def test_json_says_what_text_says(node: Node) -> None:
    told = json.loads((await doctor(*node.flags, "--format", "json")).stdout)
    assert told["exit_status"] == 0
    assert told["settings"]["host-root"]["value"] == str(node.kubelet.host_root)
    assert told["settings"]["backend-options.access"]["origin"] == "flag --backend-option"
    shown = (await doctor(*node.flags)).stdout
    skipped = "\n".join(line for line in shown.splitlines() if line.startswith("  skipped: "))
    for check in told["checks"]:
        if check["result"] == "not applicable" and not check["fix"]:
            assert check["check"] in skipped
        else:
            assert f"  {check['check']:<20} {check['result']}" in shown
    assert told["summary"] in shown


@pytest.mark.slow
async def test_twenty_runs_beside_a_plugin_disturb_nothing(node: Node) -> None:
    await node.kubelet.admit("vault", 10)
    await node.plugin.logged("units_allocated")
    simulated = node.kubelet.kubelet
    events, logged = list(simulated.events), node.plugin.count("registered")
    files = sorted(node.directory.iterdir())
    metrics = [f"teeplugin_{name}_total" for name in ("registrations", "list_changes")]
    before = await figures(node.listen, metrics)
    for number in range(20):
        if number < 4:
            shown = await doctor(*node.flags)
            assert shown.returncode == 0, shown.stdout
        else:  # the same looks, without the start of an interpreter
            assert (await node.examined()).failures == ()
    assert simulated.events == events
    assert (node.plugin.count("registered"), logged) == (1, 1)
    assert node.plugin.events("registering_again") == []
    assert sorted(node.directory.iterdir()) == files
    assert await figures(node.listen, metrics) == before
    await node.kubelet.admit("sealer", 3)


async def figures(address: str, names: list[str]) -> dict[str, str]:
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    page = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    lines = [line for line in page.splitlines() if line.split("{")[0] in names]
    assert len(lines) == len(names), page
    return dict(line.rsplit(" ", 1) for line in lines)


# Settings


async def test_a_file_that_cant_be_read(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "plugin.yaml"
    report = await node.examined("--config", file)
    fix = broken(report, "configuration", "can't be read (No such file or directory)")
    assert report.exit_status == 2
    assert fix == "do what the message says at its end"
    assert "give a readable YAML file" in report.of("configuration").text
    file.write_text("log-format: json\n")
    mended(await node.examined("--config", file), "configuration")


async def test_a_setting_that_breaks_its_rule(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "plugin.yaml"
    file.write_text("precision: 511\n")
    report = await node.examined("--config", file)
    broken(report, "configuration", "line 1: precision: 511: must be 512 or more")
    file.write_text(f"{report.of('configuration').text.rpartition('e.g. ')[2]}\n")
    mended(await node.examined("--config", file), "configuration")


async def test_a_directory_too_deep_for_a_socket(node: Node) -> None:
    deep = node.kubelet.kubelet_dir / ("d" * 90)
    deep.symlink_to(node.kubelet.kubelet_dir)
    report = await node.examined("--kubelet-dir", deep)
    assert "for instance a link to it" in broken(report, "configuration", "over 107 bytes")
    assert report.exit_status == 2
    link = node.kubelet.kubelet_dir / "short"
    link.symlink_to(deep)
    mended(await node.examined("--kubelet-dir", link), "configuration")


async def test_other_flags_than_the_plugins(node: Node) -> None:
    flags = ("--kubelet-dir", node.kubelet.kubelet_dir, "--listen", node.listen)
    report = await examined(*flags, environ={"TEEPLUGIN_PRECISION": "1024"})
    fix = warned(report, "running-settings", f"process {node.plugin.pid}, the plugin, was")
    text = report.of("running-settings").text
    assert all(key in text for key in ("precision", "host-root", "backend-options"))
    program, command, *words = command_in(fix, "tee-device-plugin")
    assert (program, command) == ("tee-device-plugin", "doctor")
    mended(await examined(*words), "running-settings")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--backend-option", "colour=red"), "no such option"),
        (("--backend-option", "total=much"), "must be a whole size"),
        (("--backend", "simulate"), "did you mean simulated?"),
    ],
)
async def test_a_backend_that_cant_be_made(node: Node, words: tuple[str, ...], fault: str) -> None:
    shown = await doctor(*node.flags, *words)
    assert (shown.returncode, shown.stderr) == (2, "")
    report = await node.examined(*words)
    broken(report, "backend", fault)
    mended(report, "kubelet-socket")  # the rest is looked at all the same
    assert warned(await node.examined(), "backend", "simulated")  # no failure any more


async def test_something_preloaded(node: Node) -> None:
    report = await examined(*node.flags, environ={"LD_PRELOAD": "/nowhere/x.so"})
    assert "without LD_PRELOAD" in warned(report, "preload", "LD_PRELOAD=/nowhere/x.so")
    mended(await node.examined(), "preload")


async def test_an_unknown_flag_is_one_line_and_no_report() -> None:
    shown = await doctor("--colour")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == (
        "tee-device-plugin: --colour: unknown flag: tee-device-plugin doctor --help lists them\n"
    )
    shown = await doctor("--help")
    assert shown.returncode == 0
    assert shown.stdout.startswith("usage: tee-device-plugin doctor [--format text|json]")


# The TEE


async def test_a_state_file_that_means_nothing(node: Node) -> None:
    good = node.plugin.state.read_text()
    node.plugin.state.write_text("total=64MiB\nfault=sometimes\n")
    fix = broken(await node.examined(), "state-file", "fault=sometimes: must be one of")
    assert fix == "mend the simulated TEE's state file"
    node.plugin.state.write_text(good)
    mended(await node.examined(), "state-file")


@pytest.mark.parametrize("fault", ["unreachable", "refused", "timed-out", "exhausted", "bug"])
async def test_a_tee_that_fails(node: Node, fault: str) -> None:
    node.plugin.play(fault=fault)
    report = await node.examined()
    kind = "bad-reply: a bug in the backend: " if fault == "bug" else f"{fault}: "
    assert broken(report, "query", kind)
    assert report.exit_status == 1
    assert report.of("figures").result is Result.NOT_APPLICABLE
    node.plugin.play(fault="none")
    mended(await node.examined(), "query")


async def test_a_bug_in_the_backend_is_no_traceback(node: Node) -> None:
    node.plugin.play(fault="bug")
    shown = await doctor(*node.flags)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "Traceback" not in shown.stdout
    assert "fix: report it to its author" in shown.stdout


async def test_a_tee_that_hangs_costs_its_deadline_and_is_named(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_query, "QUERY_SECONDS", 0.5)
    node.plugin.play(fault="hang")
    began = time.monotonic()
    report = await node.examined()
    assert time.monotonic() - began < 5
    fix = broken(report, "query", "timed-out: memory() did not return within 0.5 s")
    assert "calls stuck in the TEE" in fix
    node.plugin.play(fault="none")
    mended(await node.examined(), "query")


@pytest.mark.slow
async def test_a_hung_tee_ends_the_real_doctor_within_its_real_deadline(node: Node) -> None:
    node.plugin.play(fault="hang")
    began = time.monotonic()
    shown = await doctor(*node.flags)
    assert 10 <= time.monotonic() - began < 25
    assert shown.returncode == 1
    assert "begin with query" in shown.stdout
    assert "did not return within 10 s" in " ".join(shown.stdout.split())


async def test_a_slow_tee(node: Node) -> None:
    node.plugin.play(latency="1.1")
    assert "calls stuck" in warned(await node.examined(), "query", "a reading came after 1.1 s")
    node.plugin.play(latency="0")
    mended(await node.examined(), "query")


# Units


async def test_a_reserve_that_leaves_nothing(node: Node) -> None:
    report = await node.examined("--reserve", "64MiB")
    assert "leave out --reserve" in broken(report, "reserve", "nothing is left for units")
    assert report.exit_status == 2
    mended(await node.examined(), "reserve")


async def test_a_reserve_that_is_too_small(node: Node) -> None:
    await node.kubelet.admit("vault", 10)
    node.plugin.play(pods=10 * UNIT_BYTES, others=20 * UNIT_BYTES + 17)
    report = await node.examined()
    fix = warned(report, "reserve", "external use is at least 10485777 B: 21 of 128 units")
    mended(await node.examined(*flag_in(fix, "--reserve")), "reserve")


async def test_more_units_than_the_kubelet_takes(node: Node) -> None:
    node.plugin.play(total=226_601 * UNIT_BYTES)
    report = await node.examined()
    fix = broken(report, "precision", "226601 units of 512 KiB: the kubelet takes at most 226600")
    assert report.exit_status == 2
    report = await node.examined(*flag_in(fix, "-precision"))
    fix = warned(report, "precision", "costs the kubelet seconds")
    mended(await node.examined(*flag_in(fix, "-precision")), "precision")


async def test_a_unit_larger_than_the_tee(node: Node) -> None:
    report = await node.examined("-precision", "65537")
    fix = broken(report, "precision", "one unit of 65537 KiB is more than the capacity")
    mended(await node.examined(*flag_in(fix, "-precision")), "precision")


async def test_pods_that_hold_units_of_another_size(node: Node) -> None:
    await node.kubelet.admit("vault", 10)
    # As long as it runs, units count as the plugin was started, whatever its file says now.
    mended(await node.examined("-precision", "1024"), "allocated-unit-size")
    node.plugin.kill()
    report = await node.examined("-precision", "1024")
    fix = warned(report, "allocated-unit-size", "10 units of 512 KiB, which now count as 1 MiB")
    assert "create these pods again" in fix
    await node.kubelet.remove("vault")
    mended(await node.examined("-precision", "1024"), "allocated-unit-size")


# The terminal


async def test_a_terminal_gets_colours_and_a_pipe_none(stopped: Node) -> None:
    command = [sys.executable, "-m", "teeplugin", "doctor", *stopped.flags]
    theirs, ours = os.openpty()
    environ = {key: text for key, text in os.environ.items() if key != "NO_COLOR"}
    async with await anyio.open_process(command, stdout=ours, stderr=ours, env=environ) as process:
        os.close(ours)
        shown = await anyio.to_thread.run_sync(read_all, theirs)
    assert process.returncode == 1
    assert "\x1b[31mfailed" in shown
    piped = await doctor(*stopped.flags)
    assert "\x1b" not in piped.stdout


def read_all(descriptor: int) -> str:
    parts = []
    try:
        while part := os.read(descriptor, 65536):
            parts.append(part)
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


async def test_output_that_cant_be_written_is_no_traceback(stopped: Node) -> None:
    command = [sys.executable, "-m", "teeplugin", "doctor", *stopped.flags]
    full = os.open("/dev/full", os.O_WRONLY)
    result = await anyio.run_process(command, stdout=full, stderr=subprocess.PIPE, check=False)
    os.close(full)
    assert result.returncode == 1
    assert result.stderr == (
        b"tee-device-plugin: standard output: can't be written (No space left on device): "
        b"free its device\n"
    )
