"""The live view without rich, and without a terminal: lines."""

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest

from tests.live_terminal import (
    SIMULATE,
    LiveTerminal,
)
from tests.scratch import assert_nothing_left
from tests.waiting import eventually

pytestmark = pytest.mark.anyio
DOCS = Path(__file__).parents[2] / "docs"
ALL_FREE = "■ 0 allocated +□ 128 free +× 0 unhealthy"
READY = f"plugin registered(.|\n)*{ALL_FREE}"


# Where rich is not installed


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """An environment in which no Python finds rich, as where the extra is not installed."""
    (tmp_path / "sitecustomize.py").write_text(
        textwrap.dedent("""
            import sys

            class WithoutRich:
                def find_spec(self, name, path=None, target=None):
                    if name.partition(".")[0] == "rich":
                        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

            sys.meta_path.insert(0, WithoutRich())
        """)
    )
    return {"PYTHONPATH": str(tmp_path)}


async def test_the_live_view_says_in_one_line_what_it_needs(
    scratch: Path, without_rich: dict[str, str]
) -> None:
    with LiveTerminal(scratch, "--scenario", "tour", environment=without_rich) as terminal:
        assert await terminal.ended() == 2
        assert terminal.errors.read_text() == (
            "tee-device-plugin: --stay: the live view needs the package rich, which is not"
            " installed: install the extra `simulate` from this checkout or release (pip install"
            " '.[simulate]'), pipe the output (--stay | cat) for plain lines, or leave --stay away"
            "\n"
        )
        assert terminal.text().strip() == ""
        assert b"\x1b" not in terminal.written
        assert terminal.modes() == terminal.modes_before
    assert_nothing_left(scratch)


@pytest.mark.parametrize("flags", [(), ("--scenario", "missing-device")])
def test_scenarios_are_played_without_rich(
    scratch: Path, without_rich: dict[str, str], flags: Sequence[str]
) -> None:
    ended = subprocess.run(
        [*SIMULATE, *flags],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **without_rich, "TMPDIR": str(scratch)},
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert re.search(r"\n(\d+) of \1 steps ok in ", ended.stdout)


async def test_lines_are_written_and_keys_taken_without_rich(
    scratch: Path, without_rich: dict[str, str]
) -> None:
    with LiveTerminal(scratch, environment={**without_rich, "TERM": "dumb"}) as terminal:
        await terminal.shows("units +128 listed, 0 allocated")
        terminal.press("a")
        await terminal.shows("units +128 listed, 10 allocated, 118 free")
        terminal.press("q")
        assert await terminal.ended() == 0
    assert_nothing_left(scratch)


# Where there is no terminal


SCENARIO = ("--scenario", "missing-device")


def staying(scratch: Path, *flags: str, output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*SIMULATE, "--stay", *flags],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(scratch)},
    )


async def test_without_a_terminal_each_change_is_a_line(scratch: Path) -> None:
    output = scratch.with_suffix(".out")
    with output.open("wb") as stream, staying(scratch, *SCENARIO, output=stream) as process:
        await eventually(
            "the scenario's end", output.read_text, 20, until=lambda text: "it comes back" in text
        )
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    lines = output.read_text().splitlines()
    assert lines[-1] == "ended by SIGTERM"
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert re.search(r"^\d\d:\d\d:\d\d kubelet pod admitted: default/pod$", text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d plugin  tee_unhealthy cause=missing", text, re.MULTILINE)
    told = [line.partition("units   ")[2] for line in lines if " units   " in line]
    units = [line.partition(";")[0] for line in told]
    # What lasts less than a blink may be left out.
    assert units[0] == "0 listed, 0 allocated, 0 free, 0 unhealthy"
    assert units[-2:] == [
        "128 listed, 10 allocated, 0 free, 128 unhealthy",
        "128 listed, 10 allocated, 118 free, 0 unhealthy",
    ]
    assert_nothing_left(scratch)


async def test_the_memory_of_a_backend_of_ones_own_is_its_last_reading(
    scratch: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_text("others=4MiB\n")
    flags = ("--backend", "simulated", "--backend-option", f"state={state}", "--reserve", "4MiB")
    node = ("--backend-option", "total=64MiB", "--host-root", str(tmp_path))
    with LiveTerminal(
        scratch, *flags, *node, columns=160, environment={"TERM": "dumb"}
    ) as terminal:
        await terminal.shows("0 listed, .*TEE memory: unknown")
        await terminal.shows("120 listed, .*TEE memory: used 4 MiB, free 60 MiB")
        terminal.press("a")
        await terminal.shows("10 allocated, .*TEE memory: used 4 MiB, free 60 MiB")
        state.write_text("others=32MiB\n")
        await terminal.shows("TEE memory: used 32 MiB, free 32 MiB")
        state.write_text("fault=unreachable\n")
        await terminal.shows("120 unhealthy; TEE memory: unknown")
        state.write_text("others=2MiB\n")
        await terminal.shows("110 free, 0 unhealthy; TEE memory: used 2 MiB, free 62 MiB")
        terminal.press("p")
        await terminal.shows("ended with exit 0(.|\n)*TEE memory: unknown")
        terminal.press("q")
        assert await terminal.ended() == 0
        assert "plugin  reading" not in terminal.text()
    assert_nothing_left(scratch)


async def test_a_dumb_terminal_gets_lines_and_takes_keys(scratch: Path) -> None:
    with LiveTerminal(scratch, environment={"TERM": "dumb"}) as terminal:
        await terminal.shows("units +128 listed, 0 allocated")
        terminal.press("a")
        await terminal.shows("units +128 listed, 10 allocated, 118 free")
        terminal.press("q")
        assert await terminal.ended() == 0
        assert b"\x1b" not in terminal.written
        assert terminal.modes() == terminal.modes_before
    assert_nothing_left(scratch)


IN_THE_BACKGROUND = """
import signal, subprocess, sys
process = subprocess.Popen(sys.argv[1:], process_group=0)
signal.signal(signal.SIGTERM, lambda *_: process.terminate())
sys.exit(process.wait())
"""


async def test_in_the_background_it_leaves_the_terminal_alone(scratch: Path) -> None:
    command = (sys.executable, "-c", IN_THE_BACKGROUND, *SIMULATE, "--stay")
    with LiveTerminal(scratch, command=command) as terminal:
        await terminal.shows("units +128 listed, 0 allocated")
        assert b"\x1b" not in terminal.written
        assert terminal.modes() == terminal.modes_before
        terminal.signal(signal.SIGTERM)
        assert await terminal.ended() == 128 + signal.SIGTERM
    assert_nothing_left(scratch)


async def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly(scratch: Path) -> None:
    with staying(scratch, output=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
    assert_nothing_left(scratch)
