"""A report as text for people, at a terminal's width or in a pipe, or as JSON."""

import json
from collections.abc import Iterable, Iterator, Sequence

from teeplugin.cli.layout import COMFORTABLE_COLUMNS, command_lines, wrapped
from teeplugin.commands.doctor.model import Line, Report
from teeplugin.primitives.document import document
from teeplugin_backends.base import Finding, Result

SKIPPED = "skipped"
"""What begins the lines about the checks of a section that don't apply."""

_CHECK_WIDTH = 20
_INDENT = "  "
_COLOURS = {
    Result.OK: "\x1b[32m",
    Result.WARNING: "\x1b[33m",
    Result.FAILED: "\x1b[31m",
    Result.NOT_APPLICABLE: "\x1b[2m",
}
_PLAIN = "\x1b[0m"
# The longest word, "not applicable", is rare in this column, and may stick out.
_RESULT_WIDTH = max(len(each) for each in Result if each is not Result.NOT_APPLICABLE)
_MARGIN = len(_INDENT) + _CHECK_WIDTH + 1 + _RESULT_WIDTH + 1
_NARROW_MARGIN = 6
_LEAST_TEXT_COLUMNS = 30
"""Where less is left beside check and result, the finding stands below them."""


def as_json(report: Report, again: str = "") -> str:
    """Write all of it for programs; docs/doctor.md describes it."""
    facts = {
        "exit_status": report.exit_status,
        "summary": report.summary,
        "next_command": report.next_command(again) or None,
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


def as_text(report: Report, *, coloured: bool, width: int | None = None, again: str = "") -> str:
    """Write it for people: a heading for each part of the way, and the summary at the end."""
    page = TextPage(coloured=coloured, width=width)
    return page.lines(report.lines) + page.summary(report, again)


class TextPage:
    """The report as text, of which parts can be written as soon as they are known.

    `width` is the terminal's; with None each check is one line, and so is its fix.
    """

    def __init__(self, *, coloured: bool, width: int | None) -> None:
        self._coloured = coloured
        self._columns = width
        self._width = width and min(width, COMFORTABLE_COLUMNS)
        self._section = ""
        self._fixes: dict[str, Finding] = {}

    def lines(self, lines: Iterable[Line]) -> str:
        """Write these checks, which follow those that were written before."""
        sections: dict[str, list[Finding]] = {}
        for line in lines:
            sections.setdefault(line.section, []).append(line.finding)
        texts = (text for each in sections.items() for text in self._section_lines(*each))
        return "".join(f"{text}\n" for text in texts)

    def summary(self, report: Report, again: str = "") -> str:
        """Write the end: where to begin, and what to type next, by default `again`."""
        texts = ["", *wrapped(report.summary, self._width)]
        if command := report.next_command(again):
            texts += ["next, after the fix:" if command == again else "next:"]
            texts += command_lines(command, self._columns, indent=4)
        return "".join(f"{text}\n" for text in texts)

    def _section_lines(self, section: str, findings: Sequence[Finding]) -> Iterator[str]:
        if section != self._section:
            self._section = section
            yield section
        skipped = [each for each in findings if _is_skipped(each)]
        for finding in findings:
            if not _is_skipped(finding):
                yield from self._finding(finding)
        if skipped:
            yield from self._together(skipped)

    def _finding(self, finding: Finding) -> Iterator[str]:
        """Check, result and finding in columns; the fix below the finding."""
        check = f"{_INDENT}{finding.check:<{_CHECK_WIDTH}} "
        columns = len(check) + max(_RESULT_WIDTH, len(finding.result)) + 1
        result = finding.result.ljust(_RESULT_WIDTH)
        head = f"{check}{self._in_colour(result, finding.result)} "
        is_narrow = self._width is not None and self._width - _MARGIN < _LEAST_TEXT_COLUMNS
        indent = _NARROW_MARGIN if is_narrow else _MARGIN
        first, *further = wrapped(_shown(finding.text), self._width, head=columns, indent=indent)
        yield (head + first).rstrip()
        yield from further
        if finding.fix:
            said = self._fixes.setdefault(finding.fix, finding)
            is_said = said is not finding and _is_one_cause(said.text, finding.text)
            yield from self._fix(f"that of {said.check}" if is_said else finding.fix, indent)

    def _together(self, skipped: Sequence[Finding]) -> Iterator[str]:
        """Write what doesn't apply in a section across all columns, and each reason once."""
        names: dict[str, list[str]] = {}
        for each in skipped:
            names.setdefault(each.text, []).append(each.check)
        text = "; ".join(f"{', '.join(checks)} ({reason})" for reason, checks in names.items())
        head, indent = f"{_INDENT}{SKIPPED}: ", 2 * len(_INDENT)
        first, *further = wrapped(_shown(text), self._width, head=len(head), indent=indent)
        for line in (head + first, *further):
            yield self._in_colour(line, Result.NOT_APPLICABLE)

    def _in_colour(self, text: str, result: Result) -> str:
        return f"{_COLOURS[result]}{text}{_PLAIN}" if self._coloured else text

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


def _is_one_cause(one: str, other: str) -> bool:
    """Whether one text is the other, or quotes it: a fix in common alone doesn't tell."""
    return one in other or other in one


def _is_skipped(finding: Finding) -> bool:
    return finding.result is Result.NOT_APPLICABLE and not finding.fix


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
