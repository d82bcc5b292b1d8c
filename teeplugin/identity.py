"""`tee-device-plugin identity`: who the plugin is to the TEE, for a TA's white list; for the cli.

Takes the daemon's flags, environment and file as well, so that it tells what the daemon would be.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import NoReturn

from teeplugin.backends import load_backend
from teeplugin.cli_flags import read_flags
from teeplugin.config import ConfigError
from teeplugin.config_sources import load

_DESCRIPTION = """\
Print the path, the user and the sha-256 by which the TEE knows the plugin: a trusted
application's white list has to admit them. The daemon's flags are taken too: they say which
backend, and its options."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"identity: {message}: see tee-device-plugin identity --help")


def main(argv: Sequence[str]) -> int:
    """Print the identity and give the exit status.

    Raises:
        ConfigError: the flags or settings can't be used, or the backend has no identity.
    """
    # Without -h, which argparse would find at the beginning of -health-interval.
    parser = _Parser(
        prog="tee-device-plugin identity",
        usage="%(prog)s [--format text|json] [the daemon's FLAGS]",
        description=_DESCRIPTION,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text or json")
    parser.add_argument("--help", action="store_true", help="print this")
    flags, rest = parser.parse_known_args(argv)
    if flags.help:
        sys.stdout.write(parser.format_help())
        return 0
    settings = load(read_flags(rest, {}).values, os.environ).settings
    identity = load_backend(settings.backend, settings.backend_options).identity()
    if identity is None:
        raise ConfigError(
            f"--backend {settings.backend}: its TEE asks nobody who they are: "
            "there is nothing to admit anywhere"
        )
    facts = asdict(identity)
    if flags.format == "json":
        text = json.dumps(facts, indent=2)
    else:
        text = "\n".join(f"{name.ljust(len('sha256'))}  {value}" for name, value in facts.items())
    sys.stdout.write(f"{text}\n")
    return 0
