"""`tee-device-plugin simulate`: the plugin's life on any machine, played or by hand.

The kubelet is simulated, the TEE is simulated, the plugin is the real one, in a process of its own.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teeplugin.cli.console import complain
from teeplugin.config.settings import ConfigError, shown_path
from teeplugin.policy.units import format_size
from teeplugin.simulator.options import Options, ignored_variables, parse_options, parser
from teeplugin.simulator.report import JsonReport, Report, Unwritable
from teeplugin.simulator.scenario_runner.player import SKIPPED, Result, play
from teeplugin.simulator.scenario_runner.scenario import Scenario
from teeplugin.simulator.sockets import LONGEST_SOCKET_PATH
from teeplugin.simulator.stage import Stage
from teeplugin.simulator.timeline import ERROR

if TYPE_CHECKING:
    from teeplugin.simulator.live.controls import Pace

__all__ = ["main", "parser"]

_LONGEST_SOCKET = "/tee-12345678/device-plugins/tee-ram-123456789012.sock"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_FAILED, _EXIT_USAGE, _EXIT_SIGNAL = 1, 2, 128


def main(argv: Sequence[str] | None = None) -> int:
    """Play; 0 if every expectation held, 1 if one broke, 2 for unusable flags or scenarios."""
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        if ignored := ignored_variables(os.environ):
            complain(ignored)
        status = _EXIT_FAILED if sys.stdout is None else _played(options)
    except ConfigError as error:
        complain(str(error))
        return _EXIT_USAGE
    except (Unwritable, OSError):  # without a word: nobody is listening
        status = _EXIT_FAILED
    return status if _flushed() else _EXIT_FAILED


def _flushed() -> bool:
    """Write out what is left: at the end of the process it would be too late for an error."""
    if sys.stdout is None:  # closed by the caller
        return False
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _played(options: Options) -> int:
    _hush_libraries()
    directory = _directory()
    try:
        report = JsonReport(sys.stdout) if options.as_json else Report(sys.stdout)
        status = asyncio.run(_run(options, directory, report))
        report.end()
    except OSError as error:
        complain(f"simulate: {directory}: can't be used ({error}): set TMPDIR to another directory")
        return _EXIT_FAILED
    else:
        return status
    finally:
        if options.keep:
            complain(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _hush_libraries() -> None:
    """Leave it to the kubelet's events to tell of peers that end in the middle of a call."""
    logging.getLogger("grpclib").addHandler(logging.NullHandler())
    logging.getLogger("grpclib").propagate = False
    logging.getLogger("asyncio").setLevel(logging.ERROR)


def _directory() -> Path:
    """Make a directory of the simulation's own.

    Raises:
        ConfigError: there is none that a socket's path could lead into.
    """
    spare_bytes = LONGEST_SOCKET_PATH - len(_LONGEST_SOCKET)
    try:
        parent = tempfile.gettempdir()
    except FileNotFoundError:
        raise ConfigError(
            f"TMPDIR {shown_path(os.environ.get('TMPDIR', ''))}: neither it nor /tmp can be "
            f"written: set TMPDIR to a directory that can, of at most {spare_bytes} bytes"
        ) from None
    if len(os.fsencode(parent)) > spare_bytes:
        raise ConfigError(
            f"the temporary directory {parent} makes socket paths longer than the "
            f"{LONGEST_SOCKET_PATH} bytes that Linux takes: set TMPDIR to a directory whose "
            f"path has at most {spare_bytes} bytes, like /tmp"
        )
    try:
        return Path(tempfile.mkdtemp(prefix="tee-"))
    except OSError as error:
        raise ConfigError(
            f"the temporary directory {parent} can't be written ({error.strerror}): set TMPDIR to"
            " a directory that can"
        ) from None


async def _run(options: Options, directory: Path, report: Report) -> int:
    """Play until the end, a failure or a signal, and end all that was started.

    SIGQUIT is for whoever wants it to end without more ado, unless a terminal has to be given back.
    """
    loop = asyncio.get_running_loop()
    scenario_runner = asyncio.create_task(_play(options, directory, report))
    received: list[int] = []

    def interrupted(signal_number: int) -> None:
        received.append(signal_number)
        scenario_runner.cancel()

    for number in (*_SIGNALS, *((signal.SIGQUIT,) if options.stay else ())):
        loop.add_signal_handler(number, interrupted, number)
    try:
        return await scenario_runner
    except asyncio.CancelledError:
        if not received:
            raise
        report.summary(f"ended by {signal.Signals(received[0]).name}")
        return _EXIT_SIGNAL + received[0]


async def _play(options: Options, directory: Path, report: Report) -> int:
    shows_log = options.verbose and not options.stay
    stage = Stage(options.setup, directory, report.log_line if shows_log else lambda _: None)
    try:
        if options.stay or options.scenario is None:
            return await _stay(options.scenario, stage)
        return await _play_scenario(options.scenario, options, stage, report)
    finally:
        await stage.close()


async def _stay(scenario: Scenario | None, stage: Stage) -> int:
    """Have the node played with by hand; a scenario is played first, and its failure is ours."""
    from teeplugin.simulator.live.session import stay  # noqa: PLC0415 - for this alone

    failed: list[Result] = []

    def tell(result: Result) -> None:
        head = f"step {result.number}, {result.title}"
        if result.ok:
            stage.timeline.played(f"{head}: ok" + (f", {result.seen}" if result.seen else ""))
        else:
            failed.append(result)
            text = f"{head}: FAILED, expected {result.expected}, seen {result.seen}"
            stage.timeline.played(text, ERROR)

    async def opening(pace: "Pace") -> None:
        if scenario is not None:
            pace.plays = True
            await play(scenario, stage, tell, pace.wait)
            pace.plays = False
        else:
            await stage.kubelet.start()
            await stage.start_plugin()

    await stay(stage, opening, sys.stdout)
    return _EXIT_FAILED if failed else 0


async def _play_scenario(scenario: Scenario, options: Options, stage: Stage, report: Report) -> int:
    """Play it to its end, or to a step that fails, as a table."""
    report.begin(scenario.name, len(scenario.steps))
    if options.by_name:
        report.text(f"{scenario.name}: {scenario.description}")
    own = stage.setup.backend
    report.heading(
        f"A simulated kubelet, {f'the backend {own.name} with' if own else 'a simulated TEE of'} "
        f"{format_size(stage.setup.total_bytes)} in units of "
        f"{format_size(stage.setup.unit_bytes)}, and the real plugin."
    )
    begun, steps = time.monotonic(), len(scenario.steps)
    results: list[Result] = []

    def tell(result: Result) -> None:
        results.append(result)
        report.result(result)

    failed = await play(scenario, stage, tell)
    if failed is None:
        skipped = sum(each.seen == SKIPPED for each in results)
        count = f"{steps - skipped} of {steps} steps ok" + f", {skipped} skipped" * bool(skipped)
        report.summary(f"{count} in {time.monotonic() - begun:.1f} s")
        return 0
    step, result = failed
    place = f" ({scenario.name} line {step.line})" if options.by_name else ""
    report.failure(
        f"FAILED at step {result.number} of {steps}, {result.title}{place}: "
        f"expected {result.expected}, seen {result.seen}"
    )
    if not options.verbose and stage.last_lines:
        report.log("the plugin's last lines:", stage.last_lines)
    return _EXIT_FAILED
