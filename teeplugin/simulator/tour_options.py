"""The flags of `tee-device-plugin simulate`: checked here, used by the tour."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from teeplugin.units import (
    KIB,
    MAX_UNITS,
    MIN_PRECISION_KB,
    finest_precision_kb,
    format_size,
    parse_size,
    units_in,
)

POD_UNITS = 10
"""What the tour's pod asks for."""

_DESCRIPTION = """\
Play the plugin's life on this machine, without any TEE and without Kubernetes: a simulated kubelet
and the real plugin as a child process, with a TEE that fails and recovers. Takes seconds."""


class UsageError(Exception):
    """The flags can't be used: one line with the value, the rule and the cure."""


@dataclass(frozen=True, slots=True)
class TourOptions:
    """What to play."""

    precision_kb: int
    total_bytes: int
    plugin: tuple[str, ...]
    keep: bool
    verbose: bool

    @property
    def unit_bytes(self) -> int:
        """The memory of one unit."""
        return self.precision_kb * KIB

    @property
    def units(self) -> int:
        """How many units the plugin should list: the simulated TEE keeps no reserve."""
        return units_in(self.total_bytes, self.unit_bytes)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see tee-device-plugin simulate --help")


def parse_options(argv: Sequence[str]) -> TourOptions:
    """Read the flags; `--help` prints and raises SystemExit, as argparse does.

    Raises:
        UsageError: a flag is unknown, or its value breaks a rule.
    """
    flags = _parser().parse_args(argv)
    options = TourOptions(
        precision_kb=_precision(flags.precision),
        total_bytes=_total(flags.total),
        plugin=_command(flags.plugin),
        keep=flags.keep,
        verbose=flags.verbose,
    )
    if options.units < POD_UNITS:
        raise UsageError(
            f"--total {flags.total} with --precision {flags.precision} makes {options.units} units,"
            f" and the tour's pod needs {POD_UNITS}: give a total of at least "
            f"{format_size(POD_UNITS * options.unit_bytes)}"
        )
    if options.units > MAX_UNITS:
        raise UsageError(
            f"--total {flags.total} with --precision {flags.precision} makes {options.units} units,"
            f" and the kubelet takes {MAX_UNITS}: give a precision of at least "
            f"{finest_precision_kb(options.total_bytes)} KB"
        )
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tee-device-plugin simulate", description=_DESCRIPTION, allow_abbrev=False
    )
    parser.add_argument(
        "--precision", metavar="KB", default="512", help="memory of one unit (default: %(default)s)"
    )
    parser.add_argument(
        "--total", metavar="SIZE", default="64MiB", help="the TEE's memory (default: %(default)s)"
    )
    parser.add_argument(
        "--plugin", metavar="COMMAND", help="run this plugin instead of the installed one"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the temporary directory for a look"
    )
    parser.add_argument("--verbose", action="store_true", help="show the plugin's log as it comes")
    return parser


def _precision(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < MIN_PRECISION_KB:
        raise UsageError(
            f"--precision {text!r}: must be a whole number of KB, {MIN_PRECISION_KB} or more: "
            f"give --precision {MIN_PRECISION_KB}"
        )
    return int(text)


def _total(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"--total: {error}") from None


def _command(text: str | None) -> tuple[str, ...]:
    if text is None:
        return (sys.executable, "-m", "teeplugin")
    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"--plugin {text!r}: can't be split into words ({error}): close its quotes"
        ) from None
    if not command or shutil.which(command[0]) is None:
        raise UsageError(
            f"--plugin {text!r}: must begin with a program that can be run: give its path"
        )
    return command
