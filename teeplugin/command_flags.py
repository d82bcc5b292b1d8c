"""The flags of commands that look at the daemon: their own, and all of the daemon's; for these.

They take the daemon's flags, environment and file, so that they tell of what the daemon would be.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from teeplugin.cli_flags import read_flags
from teeplugin.config import ConfigError
from teeplugin.config_sources import Loaded, load


class CommandParser(argparse.ArgumentParser):
    """The flags of the command `name`; more may be added before `read`."""

    def __init__(self, name: str, description: str) -> None:
        # Without -h, which argparse would find at the beginning of -health-interval.
        super().__init__(
            prog=f"tee-device-plugin {name}",
            usage="%(prog)s [--format text|json] [the daemon's FLAGS]",
            description=description,
            add_help=False,
            allow_abbrev=False,
        )
        self._name = name
        self.add_argument("--format", choices=("text", "json"), default="text", help="text or json")
        self.add_argument("--help", action="store_true", help="print this")

    def error(self, message: str) -> NoReturn:
        """Refuse a flag in one line, as the daemon does.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{self._name}: {message}: see {self.prog} --help")

    def split(self, argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]] | None:
        """Give the command's flags and the daemon's words; None if help was asked for, and given.

        Raises:
            ConfigError: a flag of the command can't be used.
        """
        flags, rest = self.parse_known_args(argv)
        if flags.help:
            sys.stdout.write(self.format_help())
            return None
        return flags, rest

    def read(self, argv: Sequence[str]) -> tuple[argparse.Namespace, Loaded] | None:
        """Like `split`, with the daemon's settings instead of the words.

        Raises:
            ConfigError: the flags or settings can't be used.
        """
        found = self.split(argv)
        if found is None:
            return None
        flags, rest = found
        return flags, load(read_flags(rest, {}).values, os.environ)
