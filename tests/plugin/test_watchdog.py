"""The plugin as a process, whose event loop a backend blocks."""

import random
import re
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
import asyncio, contextlib, pathlib, time
import teeplugin.daemon.run as daemon
from teeplugin.daemon.watchdog import watchdog; from teeplugin_backends.base import TeeMemory
from teeplugin_backends.simulated import SimulatedTee
original = SimulatedTee.{method}
async def {method}(self, *_):
    pathlib.Path({asked!r}).touch()
    {blocks}

async def keeps():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

def waits():
    # Two lines down.
    time.sleep(60)

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
    assert "where=<string>:9 " in line
    assert process.returncode == 70


KEEPS = {
    "a call that waits": ("time.sleep(60)", "the event loop at <string>:9"),
    "a loop of its own": ("while True: pass", "the event loop at <string>:9"),
    "a task that isn't to be cancelled": (  # which may be seen running
        "await keeps()",
        r"(task \S+|the event loop) at <string>:1[2-4]",
    ),
    "a thread": ("await asyncio.to_thread(time.sleep, 60)", r"thread asyncio_0 at \S+:\d+"),
    "a thread of its own code": (
        "await asyncio.to_thread(waits)",
        r"thread \S+ at <string>:18",
    ),
    "a wait": ("await asyncio.sleep(60)", ""),
}


@pytest.mark.parametrize(("blocks", "words"), KEEPS.values(), ids=KEEPS.keys())
@pytest.mark.parametrize("method", ["memory", "__aenter__"])
async def test_whatever_a_backend_does_sigterm_ends_the_process_in_time_and_names_it(
    tmp_path: Path, kubelet_dir: Path, method: str, blocks: str, words: str
) -> None:
    with blocked_plugin(tmp_path, kubelet_dir, method, blocks, 60) as (process, asked):
        await eventually("the backend is asked", asked.exists)
        process.send_signal(signal.SIGTERM)
        # 1.7 s, and what a busy machine needs to end a process.
        _, told = process.communicate(timeout=5)
    assert process.returncode == 0
    lines = [line for line in told.splitlines() if "event=shutdown_timed_out" in line]
    assert len(lines) == bool(words), told
    for line in lines:
        (waits_for,) = re.findall(r'waits_for="\[\\"(.*?)\\"\]"', line)
        assert re.fullmatch(words, waits_for), line


async def test_a_backend_that_can_not_be_left_is_named(tmp_path: Path, kubelet_dir: Path) -> None:
    blocks = "await keeps()"
    with blocked_plugin(tmp_path, kubelet_dir, "__aexit__", blocks, 60) as (process, asked):
        assert process.stderr is not None
        assert any("event=capacity" in line for line in process.stderr)  # it is entered
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=5)
    assert asked.exists()
    (line,) = [line for line in told.splitlines() if "event=shutdown_timed_out" in line]
    assert re.search("at <string>:1[2-4]", line), line


BACKENDS = {
    "healthy": "return await original(self)",
    "hanging": "await asyncio.sleep(60)",
    "blocking": "time.sleep(60)",
    "crashing": "raise RuntimeError('a bug')",
}


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("behaviour", BACKENDS.values(), ids=BACKENDS.keys())
def test_sigterm_at_any_moment_ends_it_in_time(
    tmp_path: Path, kubelet_dir: Path, behaviour: str
) -> None:
    moments = random.Random(15)  # noqa: S311 - moments, no secrets
    for _ in range(10):
        with blocked_plugin(tmp_path, kubelet_dir, "memory", behaviour, 60) as (process, _):
            assert process.stderr is not None
            # The first line is written once the signals are handled.
            assert "event=starting" in process.stderr.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=moments.uniform(0.001, 1.5))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) == 0
        assert not list((kubelet_dir / "device-plugins").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_sigterm_before_the_signals_are_handled_leaves_nothing_behind(
    tmp_path: Path, kubelet_dir: Path
) -> None:
    moments = random.Random(16)  # noqa: S311 - moments, no secrets
    for _ in range(10):
        with blocked_plugin(tmp_path, kubelet_dir, "memory", BACKENDS["healthy"], 60) as (
            process,
            _,
        ):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=moments.uniform(0.001, 0.3))
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=5) in (0, -signal.SIGTERM)
        assert not list((kubelet_dir / "device-plugins").iterdir())


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
