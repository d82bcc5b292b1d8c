"""Argument parser for commands. Those that inspect the daemon also accept the daemon's flags.

The latter take its flags, environment and file, so that they tell of what the daemon would be.
Help is laid out here and not by argparse, whose layout differs between versions of Python.
"""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from teeplugin.cli.console import PROGRAM, put, warn
from teeplugin.cli.layout import wrapped
from teeplugin.config.go_flags import read_flags
from teeplugin.config.settings import ConfigError, nearest, shown
from teeplugin.config.sources import FlagValue, Loaded, load

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


HELP_COLUMNS = 80
"""Help is for a terminal of this width, because it may be printed from a file."""

_LEAST_TEXT_COLUMNS = 40
_USAGE = "usage: "


class Parser(argparse.ArgumentParser):
    """A command's flags; a mistake is a ConfigError, and the help goes out as any output does.

    `arguments` are its flags and positional arguments, and `words` values that are worth completing
    beside others that may be given, by the flag's name; `epilog` ends the help, line by line.
    """

    def __init__(
        self,
        command: str,
        *,
        usage: str,
        description: str,
        epilog: str | None = None,
        short_help: bool = True,
    ) -> None:
        super().__init__(
            prog=f"{PROGRAM} {command}",
            usage=usage,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            add_help=False,
        )
        self.command = command
        self.arguments: list[argparse.Action] = []
        self.words: dict[str, Sequence[str]] = {}
        if short_help:
            self.add_argument("-h", "--help", action="help", help="print this")

    @property
    def flags(self) -> Sequence[argparse.Action]:
        """Its flags, in the order of the help."""
        return [each for each in self.arguments if each.option_strings]

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        """Add a flag or a positional argument, as argparse does."""
        action = super().add_argument(*names, **options)
        self.arguments.append(action)
        return action

    def error(self, message: str) -> NoReturn:
        """Refuse the flags.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self.command}: {message}: see {self.prog} --help")

    def refuse(self, words: Sequence[str]) -> None:
        """Refuse words that are no flag of this command, with the one that was probably meant.

        Raises:
            ConfigError: there is such a word.
        """
        word = next((each for each in words if each != "--"), None)
        if word is None:
            return
        flag = word.partition("=")[0]
        is_flag = flag.startswith("-") and flag != "-"
        meant = nearest(flag, [name for each in self.flags for name in each.option_strings])
        guess = f"did you mean {meant}? " if meant and is_flag else ""
        what = "unknown flag" if is_flag else "unexpected word"
        raise ConfigError(
            f"{self.command}: {shown(flag if is_flag else word)}: {what}: {guess}"
            f"{self.prog} --help lists the flags"
        )

    def parse_args(  # type: ignore[override]  # no command has a namespace of its own
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Read the words.

        Raises:
            ConfigError: a flag is unknown, or its value breaks a rule.
        """
        flags, rest = self.parse_known_args(args, namespace)
        self.refuse(rest)
        return flags

    def parse_intermixed_args(  # type: ignore[override]  # likewise
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Read the words, with files before, between and after flags.

        Raises:
            ConfigError: a flag is unknown, or its value breaks a rule.
        """
        flags, rest = self.parse_known_intermixed_args(args, namespace)
        self.refuse(rest)
        return flags

    def format_help(self) -> str:
        """Write the help."""
        usage = (self.usage or "").replace("%(prog)s", self.prog)
        text = "\n".join(wrapped(usage, HELP_COLUMNS, head=len(_USAGE), indent=len(_USAGE)))
        text = f"{_USAGE}{text}\n\n"
        text += "\n".join(wrapped(" ".join((self.description or "").split()), HELP_COLUMNS))
        rows = [(_left(each), each.help or "") for each in self.arguments]
        column = max(len(left) for left, _ in rows if len(left) < _LEAST_TEXT_COLUMNS)
        text += "\n\nflags:\n" + "".join(_row(left, right, column) for left, right in rows)
        return text + (self.epilog or "")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Write the help, and end the command."""
        del file  # argparse gives none
        raise SystemExit(put(self.format_help()))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is no choice; argparse calls this and would list them only."""
        choices = [str(each) for each in action.choices or ()]
        if choices and value not in choices:
            given = [*action.option_strings[-1:], shown(str(value))]
            meant = nearest(str(value), choices)
            raise ConfigError(
                f"{self.command}: {' '.join(given)}: must be {' or '.join(choices)}: "
                f"{f'did you mean {meant}?' if meant else f'give e.g. {choices[0]}'}"
            )


def _left(action: argparse.Action) -> str:
    """Write a flag as it is typed."""
    metavar = str(action.metavar or "|".join(map(str, action.choices or ())))
    names = ", ".join(action.option_strings)
    return " ".join(filter(None, (names, metavar if action.nargs != 0 else "")))


def _row(left: str, right: str, column: int) -> str:
    indent = column + 4
    first, *further = wrapped(right, HELP_COLUMNS, head=indent, indent=indent)
    head = f"  {left.ljust(column)}  " if len(left) <= column else f"  {left}\n{' ' * indent}"
    return "".join(f"{line}\n" for line in [head + first, *further])


class CommandParser(Parser):
    """The flags of the command `name`; more may be added before `read`.

    `usage` names the command's own flags where it has others than `--format`.
    """

    def __init__(self, name: str, description: str, usage: str = "") -> None:
        super().__init__(
            name,
            usage=f"%(prog)s {usage or '[--format text|json]'} [the daemon's FLAGS]",
            description=description,
            # Without -h, which argparse would find at the beginning of -health-interval.
            short_help=False,
        )
        if not usage:
            formats = ("text", "json")
            self.add_argument("--format", choices=formats, default="text", help="output format")
        self.add_argument("--help", action="store_true", help="print this")

    def split(self, argv: Sequence[str]) -> tuple[argparse.Namespace, Sequence[FlagValue]] | None:
        """Give the command's flags and the daemon's; None if help was asked for, and given.

        Raises:
            ConfigError: a flag is unknown, or can't be used here.
            SystemExit: the help can't be written.
        """
        flags, rest = self.parse_known_args(argv)
        own = [name for each in self.flags for name in each.option_strings]
        line = read_flags(rest, {}, own, self.prog)
        if flags.help or "help" in line.switches:
            if status := put(self.format_help()):
                raise SystemExit(status)
            return None
        if line.switches:
            raise ConfigError(
                f"--{min(line.switches)}: is a flag of the daemon only: see {self.prog} --help"
            )
        return flags, line.values

    def read(self, argv: Sequence[str]) -> tuple[argparse.Namespace, Loaded] | None:
        """Like `split`, with the daemon's settings instead of its flags.

        Raises:
            ConfigError: the flags or settings can't be used.
        """
        found = self.split(argv)
        if found is None:
            return None
        flags, values = found
        loaded = load(values, os.environ)
        warn(doubt.line for doubt in loaded.doubts)
        return flags, loaded
