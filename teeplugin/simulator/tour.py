"""`tee-device-plugin simulate`: a tour of the plugin's life on any machine; called by the cli.

The kubelet is simulated, the TEE is simulated, the plugin is the real one, in a process of its own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from teeplugin.config import ConfigError, shown
from teeplugin.connections import LONGEST_SOCKET_PATH
from teeplugin.simulator.child import PluginProcess
from teeplugin.simulator.kubelet import SimulatedKubelet
from teeplugin.simulator.report import Report, Unwritable
from teeplugin.simulator.tour_options import TourOptions, parse_options
from teeplugin.simulator.tour_steps import Tour
from teeplugin.units import format_size

_SETTINGS_PREFIX = "TEEPLUGIN_"
_HEALTH_INTERVAL_SECONDS = 0.2
_LONGEST_SOCKET = "/tee-12345678/device-plugins/tee-ram-123456789012.sock"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_EXIT_FAILED, _EXIT_USAGE, _EXIT_SIGNAL = 1, 2, 128


def main(argv: Sequence[str] | None = None) -> int:
    """Play the tour; 0 if every expectation held, 1 if one broke, 2 for unusable flags."""
    try:
        options = parse_options(sys.argv[1:] if argv is None else argv)
        status = _EXIT_FAILED if sys.stdout is None else _played(options)
    except ConfigError as error:
        _tell(f"tee-device-plugin simulate: {error}")
        return _EXIT_USAGE
    except SystemExit:  # argparse has printed --help
        status = 0
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


def _played(options: TourOptions) -> int:
    directory = _directory()
    try:
        return asyncio.run(_run(options, directory, Report(sys.stdout)))
    except OSError as error:
        _tell(f"tee-device-plugin simulate: {directory}: the tour can't go on in it ({error})")
        return _EXIT_FAILED
    finally:
        if options.keep:
            _tell(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _tell(line: str) -> None:
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


def _directory() -> Path:
    """Make a directory of the tour's own.

    Raises:
        ConfigError: there is none that a socket's path could lead into.
    """
    spare_bytes = LONGEST_SOCKET_PATH - len(_LONGEST_SOCKET)
    try:
        parent = tempfile.gettempdir()
    except FileNotFoundError:
        raise ConfigError(
            f"TMPDIR {shown(os.environ.get('TMPDIR', ''))}: neither it nor /tmp can be written: set"
            f" TMPDIR to a directory that can, whose path has at most {spare_bytes} bytes"
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


async def _run(options: TourOptions, directory: Path, report: Report) -> int:
    """Play until the end, a failure or a signal, and end all that was started."""
    loop = asyncio.get_running_loop()
    playing = asyncio.create_task(_play(options, directory, report))
    received: list[int] = []

    def interrupted(signal_number: int) -> None:
        received.append(signal_number)
        playing.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupted, number)
    try:
        return await playing
    except asyncio.CancelledError:
        if not received:
            raise
        report.summary(f"ended by {signal.Signals(received[0]).name}")
        return _EXIT_SIGNAL + received[0]


async def _play(options: TourOptions, directory: Path, report: Report) -> int:
    host_root, state = directory / "host", directory / "tee"
    _make_host(host_root)
    kubelet = SimulatedKubelet(directory)
    plugin = PluginProcess(
        _plugin_command(options, directory, host_root, state),
        _plugin_environment(os.environ),
        on_line=report.log_line if options.verbose else lambda _: None,
        on_exit=kubelet.log.wake,
    )
    tour = Tour(options, kubelet, plugin, state)
    tour.set_fault("none")
    report.heading(
        f"A simulated kubelet, a simulated TEE of {format_size(options.total_bytes)} in units of "
        f"{format_size(options.unit_bytes)}, and the real plugin."
    )
    try:
        return await _play_steps(tour, plugin, report, show_log=not options.verbose)
    finally:
        await plugin.destroy()
        await kubelet.stop()


async def _play_steps(tour: Tour, plugin: PluginProcess, report: Report, *, show_log: bool) -> int:
    begun = time.monotonic()
    steps = tour.steps()
    for number, step in enumerate(steps, start=1):
        started = time.monotonic()
        seen = await step.play()
        seconds = time.monotonic() - started
        report.step(number, step.title, step.expected, seen.text, seconds=seconds, ok=seen.ok)
        if seen.note:
            report.note(seen.note)
        if not seen.ok:
            report.failure(
                f"FAILED at step {number} of {len(steps)}, {step.title}: "
                f"expected {step.expected}, seen {seen.text}"
            )
            if show_log and plugin.last_lines:
                report.log("the plugin's last lines:", plugin.last_lines)
            return _EXIT_FAILED
    report.summary(f"{len(steps)} of {len(steps)} steps ok in {time.monotonic() - begun:.1f} s")
    return 0


def _make_host(root: Path) -> None:
    """Lay out what containers are handed: the plugin looks whether it is there."""
    (root / "var/itrustee/teecd").mkdir(parents=True)
    (root / "dev").mkdir()
    for name in ("teelog", "tc_ns_cvm"):
        (root / "dev" / name).touch()


def _plugin_command(
    options: TourOptions, directory: Path, host_root: Path, state: Path
) -> list[str]:
    return [
        *options.plugin,
        *("--backend", "simulated"),
        *("--backend-option", f"total={options.total_bytes}"),
        *("--backend-option", "access=itrustee"),
        *("--backend-option", f"state={state}"),
        *("--precision", str(options.precision_kb)),
        *("--health-interval", str(_HEALTH_INTERVAL_SECONDS)),
        *("--kubelet-dir", str(directory)),
        *("--host-root", str(host_root)),
        *("--listen", "off"),
    ]


def _plugin_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without settings that would change the tour."""
    return {
        name: value for name, value in environment.items() if not name.startswith(_SETTINGS_PREFIX)
    }
