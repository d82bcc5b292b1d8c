"""`tee-device-plugin doctor`: finds what is wrong between configuration and registration."""

import os
import shlex
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

import anyio

from teeplugin.cli.console import EXIT_INTERRUPTED, PROGRAM, complain, put
from teeplugin.cli.layout import terminal_columns
from teeplugin.cli.parser import CommandParser
from teeplugin.commands.doctor.collect import look_around
from teeplugin.commands.doctor.evidence import Evidence, Phase
from teeplugin.commands.doctor.examine import Examination
from teeplugin.commands.doctor.interrupt import interruptible
from teeplugin.commands.doctor.model import Line, Report
from teeplugin.commands.doctor.report import TextPage, as_json
from teeplugin.config.sources import FlagValue
from teeplugin.logs.setup import configure, error_text

DEADLINE_SECONDS = 25.0
"""After so long doctor tells what it has: a hung TEE takes 10 s of it, others' silence a few."""

_DESCRIPTION = """\
Check every link from the configuration to the running registration, and print a fix for each that
fails. Queries the TEE once and changes nothing. Give the same daemon flags as for the running
plugin. The exit status is 0 if no check failed, 1 if one did, and 2 if the plugin would not start
with these settings."""


def parser() -> CommandParser:
    """Give the command's flags."""
    return CommandParser("doctor", _DESCRIPTION)


def main(argv: Sequence[str]) -> int:
    """Print the checks as they end, or the report as JSON, and give the exit status.

    Raises:
        ConfigError: a flag is unknown; what is wrong with a setting's value is in the report.
    """
    found = parser().split(argv)
    if found is None:
        return 0
    flags, values = found
    # Libraries' complaints stay off the report.
    configure("text", "error")
    again = shlex.join([PROGRAM, "doctor", *argv])
    output = _JsonOutput(again) if flags.format == "json" else _TextOutput(again)
    with interruptible(_interrupted):
        # At the deadline something hangs, so that nothing else ends the process.
        report = seen_within(
            values, os.environ, lambda late: os._exit(output.end(late)), told=output.lines
        )
        return output.end(report)


def seen_within(
    flags: Sequence[FlagValue],
    environ: Mapping[str, str],
    give_up: Callable[[Report], None],
    seconds: float = DEADLINE_SECONDS,
    told: Callable[[Sequence[Line]], None] = lambda _: None,
) -> Report:
    """Look around and judge; `told` gets lines as soon as they are known, in order.

    If it takes too long, `give_up` gets what was seen, in a thread.
    """
    evidence = Evidence()
    examination = Examination(evidence)
    one_at_a_time, is_over = threading.Lock(), threading.Event()

    def reached(phase: Phase) -> None:
        with one_at_a_time:
            told(examination.reached(phase))

    def late() -> None:
        with one_at_a_time:
            if not is_over.is_set():
                give_up(examination.finished())

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()
    try:
        anyio.run(look_around, evidence, flags, environ, reached)
    except Exception as error:  # noqa: BLE001 - what was seen until then is told all the same
        evidence.bug = error_text(error)
    finally:
        timer.cancel()
    with one_at_a_time:
        is_over.set()
        return examination.finished()


class _TextOutput:
    """Writes lines as they come; what was written once is not written at the end."""

    def __init__(self, again: str) -> None:
        self._again = again
        columns = terminal_columns(sys.stdout)
        is_coloured = columns is not None and not os.environ.get("NO_COLOR")
        self._page = TextPage(coloured=is_coloured, width=columns)
        self._written = 0
        self._status = 0

    def lines(self, lines: Sequence[Line]) -> None:
        if lines:
            self._written += len(lines)
            self._put(self._page.lines(lines))

    def end(self, report: Report) -> int:
        rest = self._page.lines(report.lines[self._written :])
        self._put(rest + self._page.summary(report, self._again))
        return self._status or report.exit_status

    def _put(self, text: str) -> None:
        if not self._status:  # else its reader has gone, or its device is full
            self._status = put(text)


class _JsonOutput:
    """Writes one document, at the end."""

    def __init__(self, again: str) -> None:
        self._again = again

    def lines(self, lines: Sequence[Line]) -> None:
        """Write nothing yet."""

    def end(self, report: Report) -> int:
        return put(as_json(report, self._again)) or report.exit_status


def _interrupted() -> None:
    """End the process at once: threads that a backend blocks would hold it."""
    complain("doctor: interrupted before the last check ended: nothing was changed")
    os._exit(EXIT_INTERRUPTED)
