"""`doctor` while the TEE keeps it waiting: it shows what it knows, and Ctrl-C ends it at once."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from teeplugin.commands.doctor.report import SKIPPED
from tests.plugin_process import plain_environment
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

HANGS = "await anyio.sleep_forever()"
BLOCKS_THE_EVENT_LOOP = "time.sleep(60)"
BLOCKS_A_THREAD = "await asyncio.to_thread(time.sleep, 60)"

DOCTOR = """
import asyncio, pathlib, signal, sys, time
import anyio
# A shell starts what it runs in the background with SIGINT ignored, and this is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from teeplugin_backends.simulated import SimulatedTee

async def memory(self):
    pathlib.Path({asked!r}).touch()
    {waits}

SimulatedTee.memory = memory
import teeplugin.cli.main as cli
raise SystemExit(cli.main())
"""

FIRST_CHECKS = ["configuration", "preload", "skipped:"]
ANSWER_SECONDS = 2
"""Doctor's own half a second, and what a busy machine needs to end a process."""


@dataclass
class Doctor:
    """Doctor as a process, whose output goes to files as it would into a pipe."""

    process: "subprocess.Popen[bytes]"
    asked: Path
    output: Path
    errors: Path

    def checks(self) -> list[str]:
        lines = self.output.read_text().splitlines()
        return [line.split()[0] for line in lines if re.match("  [a-z]", line)]


@contextmanager
def doctor(directory: Path, kubelet_dir: Path, waits: str, *flags: str) -> Iterator[Doctor]:
    """Run it with a backend that waits so when it is asked for the memory."""
    asked, output, errors = (directory / name for name in ("asked", "output", "errors"))
    script = DOCTOR.format(asked=str(asked), waits=waits)
    settings = ("--backend=simulated", "--listen=off", f"--kubelet-dir={kubelet_dir}")
    with (
        output.open("wb") as stdout,
        errors.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", script, "doctor", *settings, *flags],
            stdout=stdout,
            stderr=stderr,
            env=plain_environment(),
        ) as process,
    ):
        try:
            yield Doctor(process, asked, output, errors)
        finally:
            process.kill()


async def test_the_first_checks_are_there_while_the_tee_hangs(
    tmp_path: Path, kubelet_dir: Path
) -> None:
    with doctor(tmp_path, kubelet_dir, HANGS) as running:
        await eventually("the query", running.asked.exists, 20)
        await eventually("the first checks", running.checks, 2, until=FIRST_CHECKS.__eq__)
        assert running.process.poll() is None


@pytest.mark.slow
async def test_the_rest_follows_once_the_query_timed_out(tmp_path: Path, kubelet_dir: Path) -> None:
    with doctor(tmp_path, kubelet_dir, HANGS) as running:
        await eventually("the end", running.process.poll, 30, until=lambda code: code is not None)
        checks = running.checks()
        assert checks[:5] == [*FIRST_CHECKS, "backend", "query"]
        named = [each for each in checks if each != f"{SKIPPED}:"]
        assert len(set(named)) == len(named)
        assert "begin with query" in running.output.read_text()


@pytest.mark.parametrize("flags", [(), ("--format=json",)], ids=["text", "json"])
@pytest.mark.parametrize("waits", [HANGS, BLOCKS_THE_EVENT_LOOP, BLOCKS_A_THREAD])
async def test_control_c_is_answered_whatever_the_backend_blocks(
    tmp_path: Path, kubelet_dir: Path, waits: str, flags: tuple[str, ...]
) -> None:
    with doctor(tmp_path, kubelet_dir, waits, *flags) as running:
        await eventually("the query", running.asked.exists, 20)
        running.process.send_signal(signal.SIGINT)
        await eventually(
            "the end", running.process.poll, ANSWER_SECONDS, until=lambda code: code is not None
        )
        assert running.process.returncode == 130
        assert running.errors.read_text() == (
            "tee-device-plugin: doctor: interrupted before the last check ended: "
            "nothing was changed\n"
        )
        assert running.checks() == ([] if flags else FIRST_CHECKS)


async def test_json_is_one_document_at_the_end(tmp_path: Path, kubelet_dir: Path) -> None:
    with doctor(tmp_path, kubelet_dir, "raise KeyError('x')", "--format=json") as running:
        await eventually("the end", running.process.poll, 20, until=lambda code: code is not None)
        told = json.loads(running.output.read_text())
        first = [check["check"] for check in told["checks"]][:3]
        assert first == ["configuration", "preload", "running-settings"]
