"""The flags of `tee-device-plugin simulate`: checked here, used by the tour."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from teeplugin.config import ConfigError, shown
from teeplugin.config_rules import MOST_BYTES, size
from teeplugin.config_sources import FlagValue, load
from teeplugin.units import (
    KIB,
    MAX_UNITS,
    MIN_PRECISION_KB,
    finest_precision_kb,
    format_size,
    units_in,
)

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

POD_UNITS = 10
"""What the tour's pod asks for."""

_DESCRIPTION = """\
Play the plugin's life on this machine, without any TEE and without Kubernetes: a simulated kubelet
and the real plugin as a child process, with a TEE that fails and recovers. Takes seconds."""


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
        raise ConfigError(f"{message}: see tee-device-plugin simulate --help")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        """Let errors of the output through, which argparse would hide."""
        if (stream := file or sys.stdout) is not None:
            stream.write(self.format_help())


def parse_options(argv: Sequence[str]) -> TourOptions:
    """Read the flags; `--help` prints and raises SystemExit, as argparse does.

    Raises:
        ConfigError: a flag is unknown, or its value breaks a rule.
    """
    flags = _parser().parse_args(argv)
    options = TourOptions(
        precision_kb=_precision(flags.precision),
        total_bytes=_total(flags.total),
        plugin=_command(flags.plugin),
        keep=flags.keep,
        verbose=flags.verbose,
    )
    made = (
        f"--total {shown(flags.total)} with --precision {flags.precision} makes "
        f"{options.units} units"
    )
    if options.units < POD_UNITS:
        raise ConfigError(f"{made}, and the tour's pod needs {POD_UNITS}: give {_more(options)}")
    if options.units > MAX_UNITS:
        raise ConfigError(
            f"{made}, and the kubelet takes {MAX_UNITS}: give a precision of at least "
            f"{finest_precision_kb(options.total_bytes)} KB"
        )
    return options


def _more(options: TourOptions) -> str:
    """What makes enough units: a larger total, where one of that size may be given."""
    needed_bytes = POD_UNITS * options.unit_bytes
    if needed_bytes <= MOST_BYTES:
        return f"a total of at least {format_size(needed_bytes)}"
    coarsest_kb = options.total_bytes // POD_UNITS // KIB
    return f"a precision of at most {max(MIN_PRECISION_KB, coarsest_kb)} KB"


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
    """Read it by the rules of the plugin, which is going to be started with it."""
    return load([FlagValue("precision", "--precision", text)], {}).settings.precision_kb


def _total(text: str) -> int:
    try:
        total_bytes, fault = size(text), "not a size of whole bytes"
    except ValueError as error:
        total_bytes, fault = None, str(error)
    if isinstance(total_bytes, int):
        return total_bytes
    raise ConfigError(
        f"--total {shown(text)}: {fault}: give a number with K, M, G or T, e.g. --total 64MiB"
    )


def _command(text: str | None) -> tuple[str, ...]:
    if text is None:
        return (sys.executable, "-m", "teeplugin")
    try:
        command = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(
            f"--plugin {shown(text)}: can't be split into words ({error}): close its quotes"
        ) from None
    if not command or shutil.which(command[0]) is None:
        raise ConfigError(
            f"--plugin {shown(text)}: must begin with a program that can be run: give its path"
        )
    return command
