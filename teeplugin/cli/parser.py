"""Argument parser for commands. Those that inspect the daemon also accept the daemon's flags.

The latter take its flags, environment and file, so that they tell of what the daemon would be.
"""

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from teeplugin.cli.console import PROGRAM, put, warn
from teeplugin.config.go_flags import read_flags
from teeplugin.config.settings import ConfigError
from teeplugin.config.sources import FlagValue, Loaded, load

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """A command's flags; a mistake is a ConfigError, and the help goes out as any output does."""

    def __init__(
        self, command: str, *, usage: str | None, description: str, add_help: bool = True
    ) -> None:
        super().__init__(
            prog=f"{PROGRAM} {command}",
            usage=usage,
            description=description,
            allow_abbrev=False,
            add_help=add_help,
        )
        self._command = command

    def error(self, message: str) -> NoReturn:
        """Refuse the flags.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self._command}: {message}: see {self.prog} --help")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Write the help, and end the command."""
        del file  # argparse gives none
        raise SystemExit(put(self.format_help()))


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
            add_help=False,
        )
        if not usage:
            formats = ("text", "json")
            self.add_argument("--format", choices=formats, default="text", help="text or json")
        self.add_argument("--help", action="store_true", help="print this")

    def split(self, argv: Sequence[str]) -> tuple[argparse.Namespace, Sequence[FlagValue]] | None:
        """Give the command's flags and the daemon's; None if help was asked for, and given.

        Raises:
            ConfigError: a flag is unknown, or can't be used here.
            SystemExit: the help can't be written.
        """
        flags, rest = self.parse_known_args(argv)
        line = read_flags(rest, {})
        if flags.help or "help" in line.switches:
            if status := put(self.format_help()):
                raise SystemExit(status)
            return None
        if line.switches:
            raise ConfigError(
                f"--{min(line.switches)}: is the daemon's alone: see {self.prog} --help"
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
