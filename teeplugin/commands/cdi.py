"""`tee-device-plugin cdi`: prints the specification by which container runtimes give TEE access."""

import argparse
import json
from collections.abc import Sequence

import anyio

from teeplugin.cli.console import EXIT_FAILURE, complain, put
from teeplugin.cli.parser import CommandParser
from teeplugin.config.settings import ConfigError, Settings, shown
from teeplugin.logs.setup import configure
from teeplugin.policy import units
from teeplugin.policy.cdi import MOST_AMOUNTS
from teeplugin.policy.cdi_spec import HOOK_PATH, Hook, specification, too_many_units
from teeplugin.policy.decide import PolicySettings, check_policy_settings
from teeplugin.tee.entry_points import load_backend
from teeplugin.tee.guard import Needs, ask_once
from teeplugin_backends.base import TeeError, TeeMemory

_DESCRIPTION = """\
Print the CDI specification with one device for each amount of units, for /etc/cdi on each node.
With the setting `cdi: on` the plugin gives containers TEE access only through it. Queries the TEE
once. Give the same daemon flags as for the running plugin."""

_USAGE = "[--units N] [--hook PATH] [--secure-storage]"


def parser() -> CommandParser:
    """Give the command's flags."""
    made = CommandParser("cdi", _DESCRIPTION, _USAGE)
    made.add_argument("--units", metavar="N", help="amounts 1 … N (all listed units)")
    made.add_argument("--hook", metavar="PATH", help=f"program that sets the limits ({HOOK_PATH})")
    made.add_argument(
        "--secure-storage", action="store_true", help="let the hook enable secure storage too"
    )
    return made


def main(argv: Sequence[str]) -> int:
    """Print the specification and give the exit status.

    Raises:
        ConfigError: the flags or settings can't be used, or don't fit the TEE.
    """
    read = parser().read(argv)
    if read is None:
        return 0
    flags, settings = read[0], read[1].settings
    wanted, path = _amounts(flags.units), _hook_path(flags)
    backend = load_backend(settings.backend, settings.backend_options)
    # Libraries' complaints, and tracebacks of a backend, stay off the terminal.
    configure("text", "error")
    try:
        memory, needs = anyio.run(ask_once, backend)
    except TeeError as error:
        complain(f"cdi: {error}: no specification is printed: {error.fix}")
        return EXIT_FAILURE
    hook = Hook(path, ("--secure-storage",) if flags.secure_storage else ())
    if not needs.limited_containers and hook != Hook():
        raise ConfigError(
            f"--backend {settings.backend}: its TEE can't limit containers, so there is no hook: "
            "leave out --hook and --secure-storage"
        )
    document = specification(
        needs.access,
        wanted or _listed(settings, memory, needs),
        settings.unit_bytes,
        settings.resource_name,
        hook if needs.limited_containers else None,
    )
    return put(f"{json.dumps(document, indent=1)}\n")


def _amounts(text: str | None) -> int | None:
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len("2048") else 0
    if not 1 <= number <= MOST_AMOUNTS:
        raise ConfigError(f"--units {shown(text)}: must be a whole number, 1 … {MOST_AMOUNTS}")
    return number


def _hook_path(flags: argparse.Namespace) -> str:
    path = HOOK_PATH if flags.hook is None else str(flags.hook)
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise ConfigError(f"--hook {shown(path)}: must be an absolute path, e.g. {HOOK_PATH}")
    return path


def _listed(settings: Settings, memory: TeeMemory, needs: Needs) -> int:
    """Count the units that the plugin lists on this node.

    Raises:
        ConfigError: the settings don't fit the TEE, or it has more units than there are amounts.
    """
    policy = PolicySettings(
        settings.unit_bytes, settings.reserve_bytes, settings.health_interval_seconds
    ).resolved(needs.default_reserve_bytes)
    if problem := check_policy_settings(memory, policy):
        raise ConfigError(problem)
    capacity_bytes = policy.capacity_bytes(memory)
    if excess := too_many_units(capacity_bytes, settings.unit_bytes):
        raise ConfigError(f"{excess.problem}: {excess.fix}, or name fewer with --units")
    return units.units_in(capacity_bytes, settings.unit_bytes)
