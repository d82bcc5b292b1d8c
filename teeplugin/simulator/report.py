"""The report of a scenario: a table of its steps, 100 columns wide, coloured on terminals only."""

import contextlib
import itertools
import os
import textwrap
from collections.abc import Iterable, Mapping
from typing import TextIO

from teeplugin.simulator.scenario_runner.player import Result

WIDTH = 100
_COLUMNS = (2, 22, 29, 29, 7)
_GREEN, _RED, _DIM, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_INDENT = " " * (_COLUMNS[0] + 1)


class Unwritable(Exception):
    """The report reaches nobody: its stream is closed or full."""


class Report:
    """Writes to one stream, line by line as things happen; raises Unwritable where it can't."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._coloured = stream.isatty() and not environment.get("NO_COLOR")

    def heading(self, text: str) -> None:
        """Say what is going to be played, and name the columns."""
        self.text(text)
        self._line("")
        self._line(self._coloured_text(_row("#", "step", "expected", "seen", "time"), _DIM))

    def step(
        self, number: int, title: str, expected: str, seen: str, *, seconds: float, ok: bool
    ) -> None:
        """One step's line; a cell that doesn't fit goes on in the next line."""
        columns = [
            textwrap.wrap(text, width) or [""]
            for text, width in zip((title, expected, seen), _COLUMNS[1:4], strict=True)
        ]
        result = self._coloured_text("ok", _GREEN) if ok else self._coloured_text("FAILED", _RED)
        first, *further = itertools.zip_longest(*columns, fillvalue="")
        self._line(f"{_row(str(number), *first, f'{seconds:.2f} s')} {result}")
        for rest in further:
            self._line(_row("", *rest, "").rstrip())

    def result(self, result: Result) -> None:
        """One step's line or lines, with its note."""
        self.step(
            result.number,
            result.title,
            result.expected,
            result.seen,
            seconds=result.seconds,
            ok=result.ok,
        )
        if result.note:
            self.note(result.note)

    def note(self, text: str) -> None:
        """More about the step above, indented."""
        for line in textwrap.wrap(text, WIDTH - len(_INDENT), subsequent_indent="  "):
            self._line(_INDENT + line)

    def log_line(self, text: str) -> None:
        """A line of the plugin's log, as it is.

        It may come out of a callback, where an error would reach nobody: the next step raises it.
        """
        with contextlib.suppress(Unwritable):
            self._line(self._coloured_text(f"{_INDENT}| {text}", _DIM))

    def log(self, heading: str, lines: Iterable[str]) -> None:
        """Some lines of the plugin's log."""
        self.text(heading)
        for line in lines:
            self.log_line(line)

    def failure(self, text: str) -> None:
        """What broke."""
        self._line("")
        self.text(text)

    def summary(self, text: str) -> None:
        """How it ended."""
        self._line("")
        self.text(text)

    def text(self, text: str) -> None:
        """A sentence, wrapped."""
        for line in textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False):
            self._line(line)

    def _coloured_text(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text

    def _line(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except OSError as error:
            raise Unwritable from error


def _row(number: str, *cells: str) -> str:
    """Number and time to the right, the texts to the left of their columns."""
    *texts, time = cells
    padded = (f"{text:<{width}}" for text, width in zip(texts, _COLUMNS[1:4], strict=True))
    return " ".join((f"{number:>{_COLUMNS[0]}}", *padded, f"{time:>{_COLUMNS[4]}}"))
