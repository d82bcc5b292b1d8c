"""A report as text of at most 100 columns, where that can be, or as JSON."""

import json
import textwrap
from collections.abc import Iterator

from teeplugin import __version__
from teeplugin.commands.doctor.model import Report
from teeplugin_backends.base import Finding, Result

FORM = 1
"""Of the JSON: another number where a reader of this one would have to change."""

WIDTH = 100
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


def as_json(report: Report) -> str:
    """Write all of it for programs; docs/doctor.md describes the form."""
    data = {
        "form": FORM,
        "plugin_version": __version__,
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
    return f"{json.dumps(data, indent=2)}\n"


def as_text(report: Report, *, coloured: bool) -> str:
    """Write it for people: a heading for each part of the way, and the summary at the end."""
    return "\n".join([*_lines(report, coloured=coloured), "", report.summary, ""])


def _lines(report: Report, *, coloured: bool) -> Iterator[str]:
    section = None
    for line in report.lines:
        if line.section != section:
            section = line.section
            yield section
        yield from _finding_lines(line.finding, coloured=coloured)


def _finding_lines(finding: Finding, *, coloured: bool) -> Iterator[str]:
    """Check, result and finding in columns; the fix below the finding."""
    result = finding.result.ljust(_RESULT_WIDTH)
    if coloured:
        result = f"{_COLOURS[finding.result]}{result}{_PLAIN}"
    margin = " " * (len(_INDENT) + _CHECK_WIDTH + 1 + _RESULT_WIDTH + 1)
    first, *further = _wrapped(finding.text, len(margin))
    yield f"{_INDENT}{finding.check:<{_CHECK_WIDTH}} {result} {first}".rstrip()
    for rest in further:
        yield margin + rest
    if finding.fix:
        for rest in _wrapped(f"fix: {finding.fix}", len(margin)):
            yield margin + rest


def _wrapped(text: str, margin: int) -> list[str]:
    """Wrap at spaces only: a path or a command that was cut can't be copied."""
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return textwrap.wrap(shown, WIDTH - margin, break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
