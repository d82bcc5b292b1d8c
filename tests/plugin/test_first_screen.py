"""`simulate`, `doctor` and `size` fit a terminal of 80 columns; in a pipe nothing is wrapped."""

import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from teeplugin.cli.layout import columns_of
from tests.live_terminal import LiveTerminal
from tests.plugin_process import plain_environment

pytestmark = pytest.mark.anyio

PROGRAM = (sys.executable, "-m", "teeplugin")
CONFIGS_XML = Path(__file__).parents[1] / "unit/commands/sizing/full.xml"
COLUMNS = 80
ROWS = 250
CHECK = "  [a-z-]+ +(ok|warning|failed|not applicable) +."
COLOURS = re.compile("\x1b\\[[0-9]*m")


async def printed(scratch: Path, words: Sequence[str], columns: int = COLUMNS) -> list[str]:
    """The lines that a command prints on a terminal, which has to show each as one."""
    with LiveTerminal(scratch, command=(*PROGRAM, *words), columns=columns, rows=ROWS) as terminal:
        await terminal.ended(40)
        screen = [line.rstrip() for line in terminal.text().splitlines()]
        lines = COLOURS.sub("", terminal.written.decode()).replace("\r\n", "\n").splitlines()
        assert terminal.errors.read_text() == ""
    assert [line for line in lines if columns_of(line) > columns] == []
    # A line that the terminal wrapped would be two on the screen.
    assert screen[: len(lines)] == [line.rstrip() for line in lines]
    assert not any(screen[len(lines) :])
    return lines


def piped(*words: str) -> list[str]:
    command = [*PROGRAM, *words]
    return subprocess.run(
        command, env=plain_environment(), stdout=subprocess.PIPE, text=True, timeout=50, check=False
    ).stdout.splitlines()


def flattened(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())


def words(lines: Sequence[str]) -> Counter[str]:
    """The words, in whichever lines they are."""
    return Counter(flattened(lines).split())


# The tour


@pytest.mark.parametrize("columns", [COLUMNS, pytest.param(100, marks=pytest.mark.slow)])
async def test_each_step_of_the_tour_is_a_row(scratch: Path, columns: int) -> None:
    lines = await printed(scratch, ["simulate"], columns)
    steps = [line for line in lines if re.match(r"[ 1]\d (?!of)[a-zA-Z]", line)]
    assert len(steps) == 10
    assert all(re.search(r" \d\.\d\d s ok$", line) for line in steps)
    assert "10 of 10 steps ok" in lines[-1]
    assert ("seen: by tee-ram-" in flattened(lines)) is (columns == COLUMNS)
    assert "TEE_RAM_UNITS=10, TEE_RAM_UNIT_BYTES=524288" in flattened(lines)


async def test_the_log_fits_as_well_in_a_step_that_fails(scratch: Path) -> None:
    plugin = shlex.join([sys.executable, "-c", f"print('word ' * 40); print('{'x' * 70}')"])
    lines = await printed(scratch, ["simulate", "--plugin", plugin])
    assert "FAILED at step 2 of 10" in flattened(lines)
    assert f"   | {'x' * 70}" in lines
    assert flattened(lines).count("word") == 40


def test_in_a_pipe_each_step_and_its_note_are_one_line() -> None:
    lines = piped("simulate")
    assert len(lines) == len(["heading", "", "columns", *range(10), "note", "", "summary"])
    (note,) = (line for line in lines if "given to the container" in line)
    assert len(note) > 160


# The estimate


async def test_the_estimate_keeps_its_columns(scratch: Path) -> None:
    # Its path is printed, and the checkout's may be longer than a wide terminal.
    size = ("size", str(shutil.copy(CONFIGS_XML, scratch / "ta.xml")))
    narrow, wide, pipe = (
        await printed(scratch, size),
        await printed(scratch, size, 140),
        piped(*size),
    )
    assert wide == pipe
    assert any("x 5, being multi-session  estimated" in line for line in pipe)
    assert words(narrow) == words(pipe)
    parts = [line for line in narrow if re.match("  [a-z]+ +[0-9,]+ KiB  ", line)]
    assert len(parts) == len([line for line in pipe if re.match("  [a-z]+ +[0-9,]+ KiB  ", line)])
    assert len({line.index(" KiB  ") for line in parts}) == 1
    (cut,) = (place for place, line in enumerate(narrow) if "being  " in line)
    assert narrow[cut].endswith("  estimated")
    assert narrow[cut + 1].strip() == "multi-session"


# Doctor


@pytest.fixture
def stale(kubelet_dir: Path) -> list[Path]:
    """Sockets that killed plugins have left, which a command removes."""
    paths = [kubelet_dir / "device-plugins" / f"tee-ram-{number:08x}.sock" for number in range(4)]
    for path in paths:
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(path))
    return paths


def doctor(kubelet_dir: Path) -> list[str]:
    flags = {"backend": "libteec", "listen": "off", "kubelet-dir": str(kubelet_dir)}
    return ["doctor", *(f"--{name}={value}" for name, value in flags.items())]


def summary_at(lines: Sequence[str]) -> int:
    """Where doctor's summary stands: the command to type next follows."""
    return next(at for at, line in enumerate(lines) if re.match("[0-9]+ checks: ", line))


def commands(lines: Sequence[str]) -> list[str]:
    """The commands of fixes to copy, which stand on lines of their own."""
    above = "\n".join(lines[: summary_at(lines)])
    found = re.findall(r"^ +((?:rm|systemctl|kubectl) (?:.*\\\n)*.*)$", above, re.MULTILINE)
    return list(map(str, found))


async def test_doctors_commands_are_whole(
    scratch: Path, kubelet_dir: Path, stale: list[Path]
) -> None:
    lines = await printed(scratch, doctor(kubelet_dir))
    status, remove, *others = commands(lines)
    assert [status, *others] == [
        "systemctl status kubelet",
        "systemctl start tee-device-plugin",
        "kubectl get nodes -l teetype=trustzone",
        "kubectl label nodes NODE teetype=trustzone",
    ]
    # As it is copied from the screen.
    assert remove.count("\\\n") > 1
    await anyio.run_process(remove)
    assert not any(path.exists() for path in stale)
    summary = summary_at(lines)
    assert lines[summary + 1] == "next, after the fix:"
    assert "tee-device-plugin doctor --backend=libteec" in lines[summary + 2]
    names = [line.split()[0] for line in lines if re.match(CHECK, line)]
    assert sum(line.startswith("  skipped: ") for line in lines) == 5
    assert len(names) < int(lines[summary].split()[0])


@pytest.mark.slow
@pytest.mark.usefixtures("stale")
async def test_in_a_pipe_each_check_its_fix_and_each_command_are_one_line(
    scratch: Path, kubelet_dir: Path
) -> None:
    lines = piped(*doctor(kubelet_dir))
    below = [line.strip() for line in lines if line.startswith(" " * 31)]
    assert [line for line in below if not line.startswith("fix: ")] == commands(lines)
    assert commands(lines)[1].count(".sock") == 4
    assert max(map(len, lines)) > 200
    # Where a terminal is wide, text is wrapped at 100 columns all the same.
    wide = await printed(scratch, doctor(kubelet_dir), 250)
    assert max(len(line) for line in wide if not line.lstrip().startswith("rm ")) <= 100
    assert words(wide) == words(lines)
