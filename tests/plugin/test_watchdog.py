"""The plugin as a process, whose event loop a backend blocks."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.notify_socket import notify_socket
from tests.plugin_process import plain_environment
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

# A second instead of fifteen: how long it takes is a number, and what happens then is the code.
PLUGIN = """
import asyncio, pathlib, time
import teeplugin.daemon.run as daemon
from teeplugin.daemon.watchdog import watchdog
from teeplugin_backends.base import TeeMemory
from teeplugin_backends.simulated import SimulatedTee

async def {method}(self, *_):
    pathlib.Path({asked!r}).touch()
    {blocks}

SimulatedTee.{method} = {method}
daemon.watchdog = lambda signals: watchdog(signals, {seconds}, 0.1)
import teeplugin.cli.main as cli
raise SystemExit(cli.main())
"""

BLOCKS = {
    "a call that waits": "time.sleep(60)",
    "a loop of its own": "while True: pass",
}


@contextmanager
def blocked_plugin(
    directory: Path,
    kubelet_dir: Path,
    method: str,
    blocks: str,
    seconds: float,
    **environment: str,
) -> Iterator["tuple[subprocess.Popen[str], Path]"]:
    asked = directory / "asked"
    script = PLUGIN.format(asked=str(asked), method=method, blocks=blocks, seconds=seconds)
    settings = ("--backend=simulated", "--listen=off", f"--kubelet-dir={kubelet_dir}")
    with subprocess.Popen(
        [sys.executable, "-c", script, *settings],
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment() | environment,
    ) as process:
        try:
            yield process, asked
        finally:
            process.kill()


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS.keys())
@pytest.mark.parametrize("method", ["memory", "__aenter__"])
def test_a_blocked_event_loop_ends_the_process_and_says_where(
    tmp_path: Path, kubelet_dir: Path, method: str, blocks: str
) -> None:
    with blocked_plugin(tmp_path, kubelet_dir, method, blocks, 1) as (process, _):
        _, told = process.communicate(timeout=20)
    (line,) = [line for line in told.splitlines() if "event=event_loop_blocked" in line]
    assert "where=<string>:10 " in line
    assert process.returncode == 70


@pytest.mark.parametrize("blocks", [*BLOCKS.values(), "await asyncio.sleep(60)"])
@pytest.mark.parametrize("method", ["memory", "__aenter__"])
async def test_whatever_a_backend_does_sigterm_ends_the_process_in_time(
    tmp_path: Path, kubelet_dir: Path, method: str, blocks: str
) -> None:
    with blocked_plugin(tmp_path, kubelet_dir, method, blocks, 60) as (process, asked):
        await eventually("the backend is asked", asked.exists)
        process.send_signal(signal.SIGTERM)
        # 1.7 s, and what a busy machine needs to end a process.
        assert process.wait(timeout=5) == 0


@pytest.mark.parametrize("blocks", BLOCKS.values(), ids=BLOCKS.keys())
async def test_keep_alives_for_systemd_stop_with_the_event_loop(
    tmp_path: Path, kubelet_dir: Path, blocks: str
) -> None:
    address, blocked = kubelet_dir / "notify", tmp_path / "blocked"
    at_the_second_query = f"""
    if "was_asked" not in globals():
        globals()["was_asked"] = True
        return TeeMemory(2**30, 2**30)
    pathlib.Path({str(blocked)!r}).touch()
    {blocks}
"""
    environment = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "50000"}
    with (
        notify_socket(str(address)) as socket,
        blocked_plugin(tmp_path, kubelet_dir, "memory", at_the_second_query, 60, **environment) as (
            process,
            _,
        ),
    ):
        await eventually("keep-alives", lambda: socket.sent, until=lambda sent: len(sent) > 2)
        process.send_signal(signal.SIGHUP)
        await eventually("the backend blocks", blocked.exists)
        sent = len(socket.sent)
        # Ten times as long as between two of them.
        with pytest.raises(AssertionError):
            await eventually("another", lambda: socket.sent, 0.5, until=lambda now: len(now) > sent)
