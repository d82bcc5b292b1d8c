"""The application pod's own script, with the mocks, as a process."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY
from tests.waiting import eventually


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """run.sh and the mocks, with their absolute paths moved below a directory."""
    text = (DEPLOY / "demo" / "run.sh").read_text()
    for program in ("/usr/bin/tlogcat", "/vendor/bin/demo-ca"):
        moved = tmp_path / program.rpartition("/")[2]
        stand_in = (DEPLOY / "demo" / "mock" / program.lstrip("/")).read_text()
        moved.write_text(stand_in.replace("/tmp/", f"{tmp_path}/"))  # noqa: S108 - the container's
        moved.chmod(0o755)
        text = text.replace(program, str(moved))
    script = tmp_path / "run.sh"
    script.write_text(text)
    return script


@pytest.fixture
def process(script: Path) -> Iterator[subprocess.Popen[bytes]]:
    handed = {
        "TEE_RAM_UNITS": "10",
        "TEE_RAM_UNIT_BYTES": "524288",
        "TEE_RAM_BYTES": "5242880",
    }
    with (script.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", script], stdout=log, env=os.environ | handed, start_new_session=True
        )
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def log(script: Path) -> str:
    return (script.parent / "log").read_text()


@pytest.mark.anyio
async def test_the_log_has_what_the_application_and_the_ta_say(
    script: Path, process: subprocess.Popen[bytes]
) -> None:
    await eventually("the TA's line", lambda: "demo-ta: session opened" in log(script))
    assert "demo-ca: 10 units of 524288 bytes: 5242880 bytes" in log(script)
    assert process.poll() is None


@pytest.mark.anyio
async def test_it_ends_when_it_is_asked_to_and_takes_its_programs_along(
    script: Path, process: subprocess.Popen[bytes]
) -> None:
    await eventually("the TA's line", lambda: "demo-ta: session opened" in log(script))
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    await eventually("nothing of it is left", lambda: not _group(process.pid))


def _group(leader: int) -> list[str]:
    listed = subprocess.run(
        ["ps", "-o", "comm=", "-g", str(leader)], capture_output=True, text=True, check=False
    )
    return listed.stdout.split()


def test_a_failing_application_fails_the_pod(script: Path) -> None:
    (script.parent / "demo-ca").write_text("#!/bin/sh\nexit 7\n")
    result = subprocess.run(["sh", script], check=False, timeout=20)
    assert result.returncode == 7
