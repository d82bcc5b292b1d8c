"""`tee-device-plugin doctor`: finds what is wrong between configuration and registration."""

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

import anyio

from teeplugin.cli.console import put
from teeplugin.cli.parser import CommandParser
from teeplugin.commands.doctor.collect import look_around
from teeplugin.commands.doctor.evidence import Evidence
from teeplugin.commands.doctor.examine import examine
from teeplugin.commands.doctor.model import Report
from teeplugin.commands.doctor.report import as_json, as_text
from teeplugin.config.sources import FlagValue
from teeplugin.logs.setup import configure, error_text

DEADLINE_SECONDS = 25.0
"""After so long doctor tells what it has: a hung TEE takes 10 s of it, others' silence a few."""

_DESCRIPTION = """\
Look at every link from the configuration to the running registration and say of each whether it is
ok, with the fix if it isn't. The daemon's flags are taken too: give those that the plugin is
started with. Nothing is changed, and the TEE is asked once. The exit status is 0 if nothing
failed, 1 if something did, and 2 if the plugin would not start with these settings."""


def main(argv: Sequence[str]) -> int:
    """Print the report and give the exit status.

    Raises:
        ConfigError: a flag is unknown; what is wrong with a setting's value is in the report.
    """
    found = CommandParser("doctor", _DESCRIPTION).split(argv)
    if found is None:
        return 0
    flags, values = found
    # Libraries' complaints stay off the report.
    configure("text", "error")
    report = seen_within(values, os.environ, lambda report: _end(report, flags.format))
    return _told(report, flags.format)


def seen_within(
    flags: Sequence[FlagValue],
    environ: Mapping[str, str],
    give_up: Callable[[Report], None],
    seconds: float = DEADLINE_SECONDS,
) -> Report:
    """Look around and judge; if that takes too long, `give_up` gets what was seen, in a thread."""
    evidence = Evidence()
    over = threading.Lock()

    def late() -> None:
        if over.acquire(blocking=False):
            give_up(examine(evidence))

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()
    try:
        anyio.run(look_around, evidence, flags, environ)
    except Exception as error:  # noqa: BLE001 - what was seen until then is told all the same
        evidence.bug = error_text(error)
    if not over.acquire(blocking=False):
        timer.join()  # it tells, and ends the process
    timer.cancel()
    return examine(evidence)


def _told(report: Report, form: str) -> int:
    coloured = sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = as_json(report) if form == "json" else as_text(report, coloured=coloured)
    return put(text) or report.exit_status


def _end(report: Report, form: str) -> None:
    """End the process, which hangs where nothing else ends it."""
    os._exit(_told(report, form))
