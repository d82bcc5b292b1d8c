"""What a check says, and what all of them say together."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from teeplugin_backends.base import Finding, Result

EXIT_WELL = 0
"""Nothing failed; warnings alone leave it so."""

EXIT_FAILED = 1

EXIT_SETTINGS = 2
"""With these settings the plugin would end at once, with the same status."""

SETTINGS_CHECKS = frozenset({"configuration", "backend", "reserve", "precision"})
"""Where one of these fails, the plugin would end with EXIT_SETTINGS."""


class Outcome(NamedTuple):
    """What a check says of its link; its name is the check's, and is added where it is run."""

    result: Result
    text: str
    fix: str = ""


def ok(text: str) -> Outcome:
    """The link holds."""
    return Outcome(Result.OK, text)


def warning(text: str, fix: str) -> Outcome:
    """The link holds, but not as it should."""
    return Outcome(Result.WARNING, text, fix)


def failed(text: str, fix: str) -> Outcome:
    """The link is broken."""
    return Outcome(Result.FAILED, text, fix)


def not_applicable(text: str, fix: str = "") -> Outcome:
    """There is no such link here, or it can't be looked at; `fix` may say who can."""
    return Outcome(Result.NOT_APPLICABLE, text, fix)


@dataclass(frozen=True, slots=True)
class Line:
    """A finding, and the part of the way that it belongs to."""

    section: str
    finding: Finding


@dataclass(frozen=True, slots=True)
class SettingInForce:
    """A setting's value in words, and where it is from."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Report:
    """All lines, in the order of the way, and the settings in force, by key."""

    lines: tuple[Line, ...]
    settings: Mapping[str, SettingInForce] = field(default_factory=dict)

    def of(self, check: str) -> Finding:
        """The finding of a check, which must be there."""
        return next(line.finding for line in self.lines if line.finding.check == check)

    @property
    def failures(self) -> tuple[str, ...]:
        """The checks that failed, in order."""
        findings = (line.finding for line in self.lines)
        return tuple(each.check for each in findings if each.result is Result.FAILED)

    @property
    def exit_status(self) -> int:
        """What the process is to end with."""
        if SETTINGS_CHECKS & set(self.failures):
            return EXIT_SETTINGS
        return EXIT_FAILED if self.failures else EXIT_WELL

    @property
    def counts(self) -> Mapping[Result, int]:
        """How many lines have each result; every result is there."""
        counted = Counter(line.finding.result for line in self.lines)
        return {result: counted[result] for result in Result}

    def next_command(self, again: str) -> str:
        """Give the command to type next: of the fix to begin with, or else `again`, to look again.

        Empty where nothing is wrong, or a warning's fix has no command. A command that removes
        something, or that has a name to be filled in, is for the reader of the fix to choose.
        """
        findings = [line.finding for line in self.lines]
        for result in (Result.FAILED, Result.WARNING):
            for finding in findings:
                if finding.result is result:
                    commands = finding.fix.split("\n")[1:]
                    other = again if result is Result.FAILED else ""
                    return next((each for each in commands if _is_ready(each)), other)
        return ""

    @property
    def summary(self) -> str:
        """One line: how many of each, and where to begin."""
        parts = ", ".join(f"{count} {result}" for result, count in self.counts.items() if count)
        if self.failures:
            advice = f"begin with {self.failures[0]}"
        elif self.counts[Result.WARNING]:
            advice = "nothing failed"
        else:
            advice = "all is well"
        return f"{len(self.lines)} checks: {parts}: {advice}"


def _is_ready(command: str) -> bool:
    words = command.split()
    return words[0] not in ("rm", "kill") and not any(word.isupper() for word in words)
