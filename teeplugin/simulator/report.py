"""The report of a scenario: a table of its steps, as wide as the terminal, coloured only there."""

import contextlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from teeplugin.cli.layout import COMFORTABLE_COLUMNS, cell, padded, terminal_columns, wrapped
from teeplugin.primitives.document import document
from teeplugin.simulator.scenario_runner.player import Result

_NUMBER_COLUMNS, _TIME_COLUMNS = 2, 7
_TEXT_COLUMNS = (22, 29, 29)
_RESULT_COLUMNS = len("FAILED")
_LEAST_COLUMNS = 16
_GREEN, _RED, _DIM, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"
_INDENT = " " * (_NUMBER_COLUMNS + 1)
_LOG = f"{_INDENT}| "


class Unwritable(Exception):
    """The report reaches nobody: its stream is closed or full."""


class Report:
    """Writes to one stream, line by line as things happen; raises Unwritable where it can't.

    On a terminal what doesn't fit its width continues in further lines; in a pipe each step is one.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        columns = terminal_columns(stream)
        self._width = columns and min(columns, COMFORTABLE_COLUMNS)
        self._coloured = columns is not None and not environment.get("NO_COLOR")
        self._is_narrow = self._width is not None and self._width < COMFORTABLE_COLUMNS
        self._columns: Sequence[int] = _TEXT_COLUMNS
        if self._is_narrow and self._width:
            title = _TEXT_COLUMNS[0]
            others = (_NUMBER_COLUMNS, title, _TIME_COLUMNS, _RESULT_COLUMNS)
            left = self._width - sum(others) - len(others)
            self._columns = (title, max(_LEAST_COLUMNS, left))

    def begin(self, scenario: str, steps: int) -> None:
        """Take note of what is played; the table begins with its heading."""

    def heading(self, text: str) -> None:
        """Say what is going to be played, and name the columns."""
        self.text(text)
        self._line("")
        names = ("step", "expected, and seen") if self._is_narrow else ("step", "expected", "seen")
        self._line(self._coloured_text(self._row("#", names, "time"), _DIM))

    def step(
        self, number: int, title: str, expected: str, seen: str, *, seconds: float, ok: bool
    ) -> None:
        """One step's line; on a terminal, a cell that doesn't fit continues in the next line.

        Where there is no room for what was expected beside what was seen, both stand in one column,
        and once if they are the same.
        """
        cells = [[title], [expected], [seen]]
        if self._is_narrow:
            cells[1:] = [[expected] if seen == expected else [expected, f"seen: {seen}"]]
        columns = [
            [line for text in texts for line in cell(text, self._width and width)]
            for texts, width in zip(cells, self._columns, strict=True)
        ]
        result = self._coloured_text("ok", _GREEN) if ok else self._coloured_text("FAILED", _RED)
        first, *further = itertools.zip_longest(*columns, fillvalue="")
        self._line(f"{self._row(str(number), first, f'{seconds:.2f} s')} {result}")
        for rest in further:
            self._line(self._row("", rest, "").rstrip())

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
        self._indented(_INDENT, text, len(_INDENT) + 2)

    def log_line(self, text: str) -> None:
        """A line of the plugin's log.

        It may come out of a callback, where an error would reach nobody: the next step raises it.
        """
        with contextlib.suppress(Unwritable):
            self._indented(_LOG, text, len(_LOG) + 2, _DIM)

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

    def end(self) -> None:
        """Nothing follows: each line is written at once."""

    def text(self, text: str) -> None:
        """A sentence, wrapped."""
        self._indented("", text, 0)

    def _indented(self, head: str, text: str, indent: int, colour: str = "") -> None:
        first, *further = wrapped(text, self._width, head=len(head), indent=indent)
        for line in (head + first, *further):
            self._line(self._coloured_text(line, colour))

    def _row(self, number: str, cells: Iterable[str], time: str) -> str:
        """Number and time to the right, the texts to the left of their columns."""
        texts = (padded(*each) for each in zip(cells, self._columns, strict=True))
        return " ".join((f"{number:>{_NUMBER_COLUMNS}}", *texts, f"{time:>{_TIME_COLUMNS}}"))

    def _coloured_text(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured and colour else text

    def _line(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except OSError as error:
            raise Unwritable from error


class JsonReport(Report):
    """Writes one document, when it is over; the log's lines are part of a failure only."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, {})
        self._facts: dict[str, Any] = {}
        self._played: list[dict[str, Any]] = []
        self._log: list[str] = []
        self._failure: str | None = None

    def begin(self, scenario: str, steps: int) -> None:
        """Take note of what is played."""
        self._facts = {"scenario": scenario, "steps": steps}

    def heading(self, text: str) -> None:
        """Say nothing yet."""

    def text(self, text: str) -> None:
        """Say nothing yet."""

    def result(self, result: Result) -> None:
        """Keep a step."""
        self._played.append(
            {
                "step": result.number,
                "title": result.title,
                "expected": result.expected,
                "seen": result.seen,
                "ok": result.ok,
                "seconds": round(result.seconds, 3),
                "note": result.note or None,
            }
        )

    def log_line(self, text: str) -> None:
        """Leave out the log of what went well."""

    def failure(self, text: str) -> None:
        """Keep what broke."""
        self._failure = text

    def log(self, heading: str, lines: Iterable[str]) -> None:
        """Keep the last lines of the plugin's log."""
        del heading
        self._log = list(lines)

    def summary(self, text: str) -> None:
        """Keep how it ended, where that is an end on the way."""
        if len(self._played) < self._facts.get("steps", 0):
            self._failure = text

    def end(self) -> None:
        """Write all of it."""
        facts = {
            **self._facts,
            "ok": self._failure is None,
            "failure": self._failure,
            "played": self._played,
            "last_log_lines": self._log,
        }
        self._line(json.dumps(document("simulate", facts), indent=2))
