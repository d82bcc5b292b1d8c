"""The tour ends 0 with a sound plugin, and names the step that a broken one fails at."""

import io
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

import teeplugin
from teeplugin.simulator.command import main
from teeplugin.simulator.report import Report
from tests.scratch import assert_nothing_left

TOUR = [sys.executable, "-m", "teeplugin", "simulate"]

HANDS_OUT_NOTHING = """
from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.device_plugin_service import DevicePluginService

DevicePluginService._container_response = lambda *_: v1beta1.ContainerAllocateResponse()
"""

NEVER_NOTICES_A_FAULT = """
from teeplugin_backends.simulated import SimulatedTee

first, readings = SimulatedTee.memory, []

async def memory(self):
    if not readings:
        readings.append(await first(self))
    return readings[0]

SimulatedTee.memory = memory
"""

DIES_WHEN_THE_KUBELET_RESTARTS = """
import os
from teeplugin.kubelet import registration

call, calls = registration.call, []

async def call_once(*words):
    calls.append(1)
    if len(calls) > 1:
        os._exit(3)
    return await call(*words)

registration.call = call_once
"""

EXITS_NON_ZERO = """
from teeplugin.daemon import run as plugin

run = plugin.run
plugin.run = lambda *words: run(*words) or 7
"""


def tour(
    scratch: Path, *flags: str, environment: Mapping[str, str] = MappingProxyType({})
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*TOUR, *flags],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch), **environment},
    )


def test_a_sound_plugin_passes_every_step(scratch: Path) -> None:
    ended = tour(scratch, environment={"TEEPLUGIN_PRECISION": "bad"})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == (
        "tee-device-plugin: simulate: TEEPLUGIN_PRECISION: not read here: give flags, see simulate"
        " --help\n"
    )
    assert "10 of 10 steps ok" in ended.stdout
    assert "given to the container: mount /var/itrustee/teecd read-only" in ended.stdout
    assert "TEE_RAM_UNITS=10, TEE_RAM_UNIT_BYTES=524288, also as TEE_RAM_BYTES_" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert_nothing_left(scratch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mischief", "step", "seen"),
    [
        (
            HANDS_OUT_NOTHING,
            "step 4 of 10, admit a pod of 10",
            "missing in the allocation: TEE_RAM_UNITS=10",
        ),
        (NEVER_NOTICES_A_FAULT, "step 6 of 10, the TEE fails", "seen 128 of 128"),
        (DIES_WHEN_THE_KUBELET_RESTARTS, "step 8 of 10, the kubelet restarts", "with exit 3"),
        (EXITS_NON_ZERO, "step 10 of 10, SIGTERM to the plugin", "seen exit 7"),
        ("raise SystemExit(4)", "step 2 of 10, start the plugin", "with exit 4"),
    ],
)
def test_a_broken_plugin_fails_at_its_step(
    scratch: Path, tmp_path: Path, mischief: str, step: str, seen: str
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        f"{mischief}\nimport teeplugin.cli.main as cli\nraise SystemExit(cli.main())\n"
    )
    ended = tour(scratch, "--plugin", shlex.join([sys.executable, str(script)]))
    assert ended.returncode == 1
    report = " ".join(ended.stdout.split())
    assert f"FAILED at {step}" in report
    assert seen in report
    assert ended.stdout.count(" FAILED\n") == 1
    assert ("the plugin's last lines:" in ended.stdout) is ("SystemExit" not in mischief)
    assert_nothing_left(scratch)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_cleans_up(scratch: Path, number: signal.Signals, status: int) -> None:
    with subprocess.Popen(
        [*TOUR, "--plugin", shlex.join([sys.executable, "-c", "import signal; signal.pause()"])],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as scenario_runner:
        assert scenario_runner.stdout is not None
        while "start the kubelet" not in scenario_runner.stdout.readline():
            pass
        scenario_runner.send_signal(number)
        rest = scenario_runner.stdout.read()
    assert scenario_runner.returncode == status
    assert f"ended by {number.name}" in rest
    assert_nothing_left(scratch)


def test_keep_leaves_the_directory_and_verbose_shows_the_log(scratch: Path) -> None:
    ended = tour(scratch, "--keep", "--verbose", "--precision", "1024", "--total", "4MiB")
    assert ended.returncode == 2
    assert "--total 4MiB with --precision 1024 makes 4 units" in ended.stderr
    ended = tour(scratch, "--keep", "--verbose", "--precision", "1024", "--total", "10MiB")
    assert ended.returncode == 0, ended.stdout
    assert " | " in ended.stdout
    (kept,) = scratch.iterdir()
    assert ended.stderr == f"tee-device-plugin: kept: {kept}\n"
    assert (kept / "host/dev/teelog").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--precision", "511"], "--precision 511: must be 512 or more: give a whole number of KB"),
        (["--precision", "x"], "--precision x: not a whole number of KB: give 512 or more"),
        (["--precision", "9" * 5000], "...: must be 1099511627776 or less: give a whole number"),
        (
            ["--precision", str(2**40)],
            "makes 0 units, and the scenario tour needs 10: give a pr",
        ),
        (["--total", "many"], "--total many: not a size of whole bytes: give a number with K, M"),
        (["--total", "9" * 5000], "...: must be 1 PiB or less: give a number with K, M, G or T"),
        (["--total", "1M\n"], "--total 1MiB with --precision 512 makes 2 units"),
        (["--total", "200G"], "the kubelet takes 226600: give a precision of at least 926 KB"),
        (["--plugin", "no-such-program -x"], "must begin with a program that can be run"),
        (["--plugin", "'"], "close its quotes"),
        (["--colour"], "--colour"),
        (["extra"], "extra"),
    ],
)
def test_bad_flags_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert main(flags) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err


def test_a_program_that_the_system_refuses_is_told_in_one_line(
    scratch: Path, tmp_path: Path
) -> None:
    script = tmp_path / "no-interpreter"
    script.write_text("just text")
    script.chmod(0o755)
    ended = tour(scratch, "--plugin", str(script))
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"--plugin {script}: can't be run (Exec format error): give a program" in ended.stderr
    assert_nothing_left(scratch)


@pytest.mark.parametrize("flags", ["", "--verbose", "--help"])
@pytest.mark.parametrize("redirected", [">&-", ">/dev/full", ">&- 2>&-", ">/dev/full 2>/dev/full"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_or_full_output_ends_it_quietly(
    scratch: Path, flags: str, redirected: str, unbuffered: str
) -> None:
    ended = subprocess.run(
        ["sh", "-c", f"exec {shlex.join(TOUR)} {flags} {redirected}"],
        stderr=subprocess.PIPE,
        timeout=50,
        check=False,
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": unbuffered},
    )
    # Help is printed as by all commands, which say so where it can't be written.
    is_told = flags == "--help" and redirected == ">/dev/full"
    told = b"tee-device-plugin: standard output: can't be written (No space left on device)"
    assert ended.returncode == 1
    assert ended.stderr.startswith(told) if is_told else ended.stderr == b""
    assert_nothing_left(scratch)


def test_an_output_that_fills_up_on_the_way_ends_it_quietly(scratch: Path) -> None:
    with subprocess.Popen(
        [*TOUR, "--verbose"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as scenario_runner:
        assert scenario_runner.stdout is not None
        assert scenario_runner.stderr is not None
        while "start the plugin" not in scenario_runner.stdout.readline():
            pass
        scenario_runner.stdout.close()
        told = scenario_runner.stderr.read()
    assert (scenario_runner.returncode, told) == (1, "")
    assert_nothing_left(scratch)


def test_no_directory_that_can_be_written_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere/at/all"])
    monkeypatch.setenv("TMPDIR", "/nowhere/at/all")
    assert main([]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "TMPDIR /nowhere/at/all: neither it nor /tmp can be written: set TMPDIR to a dir" in told


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_the_plugin_ends_with_a_tour_that_had_no_time_to_end_it(
    scratch: Path, tmp_path: Path, number: signal.Signals
) -> None:
    told = tmp_path / "pid"
    code = (
        f"import os, signal, pathlib; pathlib.Path({str(told)!r}).write_text(str(os.getpid())+'.')"
    )
    plugin_command = shlex.join([sys.executable, "-c", f"{code}; signal.pause()"])
    with subprocess.Popen(
        # A shell has what it runs in the background ignore the signal.
        ["env", "--default-signal=QUIT", *TOUR, "--plugin", plugin_command],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(scratch)},
    ) as scenario_runner:
        eventually(lambda: told.exists() and told.read_text().endswith("."))
        plugin = Path("/proc", told.read_text().rstrip("."), "cmdline")
        assert plugin.read_bytes()
        scenario_runner.send_signal(number)
    assert scenario_runner.returncode == -number
    eventually(lambda: not plugin.exists() or not plugin.read_bytes())  # empty: a zombie


def eventually(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_temporary_directory_that_is_too_long_is_told_with_its_fix(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    ended = tour(long)
    assert ended.returncode == 2
    assert "set TMPDIR to a directory whose path has at most" in ended.stderr
    assert list(long.iterdir()) == []


def test_help_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    assert "--plugin" in capsys.readouterr().out


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_are_for_terminals_that_want_them(
    variables: dict[str, str], *, coloured: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    Report(stream, variables).step(1, "a step", "this", "that " * 20, seconds=1, ok=False)
    lines = stream.getvalue().splitlines()
    assert ("\x1b[31mFAILED" in lines[0]) is coloured
    assert len(lines) == 4


def test_it_runs_where_only_the_launcher_knows_the_packages(tmp_path: Path) -> None:
    # As in the image: an interpreter that finds none of them by itself.
    interpreter = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    packages = {str(Path(teeplugin.__file__).parents[1]), sysconfig.get_path("purelib")}
    launcher = (
        f"import sys; sys.path[:0] = {sorted(packages)}; from teeplugin.__main__ import run; run()"
    )
    result = subprocess.run(
        [interpreter, "-I", "-c", launcher, "simulate"],
        capture_output=True,
        text=True,
        timeout=50,
        cwd=tmp_path,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
