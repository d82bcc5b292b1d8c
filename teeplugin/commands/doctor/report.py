"""A report as text for people, at a terminal's width or in a pipe, or as JSON."""

import json
from collections.abc import Iterable, Iterator

from teeplugin.cli.layout import COMFORTABLE_COLUMNS, command_lines, wrapped
from teeplugin.commands.doctor.model import Line, Report
from teeplugin.primitives.document import document
from teeplugin_backends.base import Finding, Result

_CHECK_WIDTH = 20
_INDENT = "  "
_COLOURS = {
    Result.OK: "\x1b[32m",
    Result.WARNING: "\x1b[33m",
    Result.FAILED: "\x1b[31m",
    Result.NOT_APPLICABLE: "\x1b[2m",
}
_PLAIN = "\x1b[0m"
_RESULT_WIDTH = max(map(len, Result))
_MARGIN = len(_INDENT) + _CHECK_WIDTH + 1 + _RESULT_WIDTH + 1
_NARROW_MARGIN = 6
_LEAST_TEXT_COLUMNS = 30
"""Where less is left beside check and result, the finding stands below them."""


def as_json(report: Report) -> str:
    """Write all of it for programs; docs/doctor.md describes it."""
    facts = {
        "exit_status": report.exit_status,
        "summary": report.summary,
        "counts": {str(result): count for result, count in report.counts.items()},
        "settings": {
            key: {"value": setting.value, "origin": setting.origin}
            for key, setting in report.settings.items()
        },
        "checks": [
            {
                "section": line.section,
                "check": line.finding.check,
                "result": str(line.finding.result),
                "finding": line.finding.text,
                "fix": line.finding.fix or None,
            }
            for line in report.lines
        ],
    }
    return f"{json.dumps(document('doctor', facts), indent=2)}\n"


def as_text(report: Report, *, coloured: bool, width: int | None = None) -> str:
    """Write it for people: a heading for each part of the way, and the summary at the end."""
    page = TextPage(coloured=coloured, width=width)
    return page.lines(report.lines) + page.summary(report)


class TextPage:
    """The report as text, of which parts can be written as soon as they are known.

    `width` is the terminal's; with None each check is one line, and so is its fix.
    """

    def __init__(self, *, coloured: bool, width: int | None) -> None:
        self._coloured = coloured
        self._columns = width
        self._width = width and min(width, COMFORTABLE_COLUMNS)
        self._section = ""

    def lines(self, lines: Iterable[Line]) -> str:
        """Write these checks, which follow those that were written before."""
        return "".join(f"{text}\n" for line in lines for text in self._line(line))

    def summary(self, report: Report) -> str:
        """Write the end."""
        return "".join(f"{text}\n" for text in ("", *wrapped(report.summary, self._width)))

    def _line(self, line: Line) -> Iterator[str]:
        if line.section != self._section:
            self._section = line.section
            yield line.section
        yield from self._finding(line.finding)

    def _finding(self, finding: Finding) -> Iterator[str]:
        """Check, result and finding in columns; the fix below the finding."""
        result = finding.result.ljust(_RESULT_WIDTH)
        if self._coloured:
            result = f"{_COLOURS[finding.result]}{result}{_PLAIN}"
        head = f"{_INDENT}{finding.check:<{_CHECK_WIDTH}} {result} "
        columns = max(_MARGIN, _MARGIN + len(finding.check) - _CHECK_WIDTH)
        is_narrow = self._width is not None and self._width - _MARGIN < _LEAST_TEXT_COLUMNS
        indent = _NARROW_MARGIN if is_narrow else _MARGIN
        first, *further = wrapped(_shown(finding.text), self._width, head=columns, indent=indent)
        yield (head + first).rstrip()
        yield from further
        if finding.fix:
            yield from self._fix(finding.fix, indent)

    def _fix(self, fix: str, indent: int) -> Iterator[str]:
        """Write what to do in words, and each command for it, on a line of its own."""
        words, *commands = map(_shown, fix.split("\n"))
        margin = " " * indent
        first, *further = wrapped(f"fix: {words}", self._width, head=indent, indent=indent)
        if first:
            yield margin + first
        yield from further
        for command in commands:
            yield from command_lines(command, self._columns, indent=indent)


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
