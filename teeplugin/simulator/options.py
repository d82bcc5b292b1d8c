"""The flags of `tee-device-plugin simulate`."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teeplugin.cli.parser import Parser
from teeplugin.config.given import Given
from teeplugin.config.settings import SETTINGS, ConfigError, Settings, shown
from teeplugin.config.sources import CONFIG_VARIABLE, FlagValue, load
from teeplugin.config.validators import MAX_BYTES, size
from teeplugin.policy.units import (
    KIB,
    MAX_UNITS,
    MIN_PRECISION_KB,
    counted,
    finest_precision_kb,
    flag_size,
    format_size,
)
from teeplugin.simulator.kubelet import DEFAULT_RESOURCE
from teeplugin.simulator.own_backend import OwnBackend, ask
from teeplugin.simulator.scenario_runner.reading import read_scenario
from teeplugin.simulator.scenario_runner.scenario import (
    DEFAULT_TOTAL_BYTES,
    TOUR,
    Scenario,
    shipped_names,
)
from teeplugin.simulator.stage import Setup

_DESCRIPTION = """\
Run the real plugin on this machine without a TEE and without Kubernetes: with a simulated kubelet,
and a simulated TEE that fails and recovers. Without flags it runs a tour, which takes seconds."""


@dataclass(frozen=True, slots=True)
class Options:
    """What to play: a scenario, a node to play with by hand, or both.

    `by_name` tells that the scenario was asked for.
    """

    scenario: Scenario | None
    by_name: bool
    setup: Setup
    stay: bool
    keep: bool
    verbose: bool
    as_json: bool


def parse_options(argv: Sequence[str]) -> Options:
    """Read the flags; `--help` prints and raises SystemExit, as argparse does.

    Raises:
        ConfigError: a flag is unknown, or its value or the scenario breaks a rule.
    """
    flags = parser().parse_args(argv)
    if flags.stay and flags.format == "json":
        raise ConfigError("simulate: --format json: --stay has no end: leave one of them out")
    scenario = None
    if flags.scenario is not None or not flags.stay:
        scenario = read_scenario(_given("--scenario", flags.scenario or TOUR))
    setup = _setup(flags, scenario)
    _check_units(setup, scenario)
    return Options(
        scenario=scenario,
        by_name=flags.scenario is not None,
        setup=setup,
        stay=flags.stay,
        keep=flags.keep,
        verbose=flags.verbose,
        as_json=flags.format == "json",
    )


def ignored_variables(environment: Mapping[str, str]) -> str:
    """Say which of the plugin's settings the environment has, of which none is read here."""
    variables = (*(each.variable for each in SETTINGS.values()), CONFIG_VARIABLE)
    names = [variable for variable in variables if environment.get(variable)]
    if not names:
        return ""
    return f"simulate: {', '.join(names)}: not read here: give flags, see simulate --help"


def _setup(flags: argparse.Namespace, scenario: Scenario | None) -> Setup:
    """Lay the flags over the scenario, and the scenario over the defaults.

    A backend of the user's says itself how much memory there is; its own reserve holds unless
    another is given.
    """
    node = scenario or Scenario.model_construct()
    own = _own_backend(flags)
    total_bytes = node.total_bytes if flags.total is None else _total(flags.total)
    return Setup(
        total_bytes=own.memory.total_bytes if own else total_bytes,
        precision_kb=node.precision_kb if flags.precision is None else _precision(flags.precision),
        wanted_reserve_bytes=_reserve(flags.reserve, node.reserve_bytes),
        health_interval_seconds=node.health_interval_seconds,
        listen=_by_the_plugins_rules("listen", flags.listen).listen,
        resource_name=_resource_name(flags.resource_name, node.resource_name),
        profile=node.profile,
        plugin=_command(flags.plugin),
        backend=own,
        host_root=_host_root(flags) if own else None,
    )


def _own_backend(flags: argparse.Namespace) -> OwnBackend | None:
    if flags.backend is None:
        given = {"--backend-option": flags.backend_option, "--host-root": flags.host_root}
        alone = next((flag for flag, value in given.items() if value), None)
        if alone:
            raise ConfigError(f"{alone}: needs your own backend: give --backend NAME too")
        return None
    if flags.total is not None:
        raise ConfigError(
            f"--total {shown(flags.total)}: --backend {shown(flags.backend)} sets the memory: "
            "leave one of them out"
        )
    return ask(flags.backend, flags.backend_option)


def _host_root(flags: argparse.Namespace) -> Path:
    """Give where the node's files are: by default this machine's."""
    given = [FlagValue("host-root", "--host-root", flags.host_root)] if flags.host_root else []
    return load(given, {}, ("host-root",)).settings.host_root


def _check_units(setup: Setup, scenario: Scenario | None) -> None:
    """Refuse a node that has too few units for the scenario, or too many for a kubelet."""
    units = setup.units_of(setup.total_bytes)
    needed = scenario.needs_units if scenario else 1
    memory = f"--backend {setup.backend.name}" if setup.backend else "--total"
    reserve = setup.reserve_bytes
    less = f" less a reserve of {flag_size(reserve)}" if reserve else ""
    made = (
        f"{memory} {flag_size(setup.total_bytes)}{less} with --precision {setup.precision_kb} "
        f"makes {counted(units, 'unit')}"
    )
    if units < needed:
        what = f"the scenario {scenario.name}" if scenario else "a node"
        raise ConfigError(f"{made}, and {what} needs {needed}: give {_more(setup, needed)}")
    if units > MAX_UNITS:
        raise ConfigError(
            f"{made}, and the kubelet takes {MAX_UNITS}: give a precision of at least "
            f"{finest_precision_kb(setup.total_bytes)} KB"
        )


def _more(setup: Setup, units: int) -> str:
    """What makes enough units: a larger total, where one of that size may be given."""
    needed_bytes = units * setup.unit_bytes + setup.reserve_bytes
    if needed_bytes <= MAX_BYTES:
        return f"a total of at least {format_size(needed_bytes)}"
    coarsest_kb = setup.total_bytes // units // KIB
    return f"a precision of at most {max(MIN_PRECISION_KB, coarsest_kb)} KB"


def parser() -> Parser:
    """Give the command's flags."""
    made = Parser(
        "simulate",
        usage="%(prog)s [FLAGS]",
        description=_DESCRIPTION,
        epilog=_scenario_lines(),
    )
    made.add_argument(
        "--scenario",
        metavar="NAME|FILE",
        help="run one of the scenarios below, or your own YAML file",
    )
    made.add_argument(
        "--stay",
        action="store_true",
        help="show a live view of the node, with keys to control it (needs the extra "
        "teeplugin[simulate]); plain lines if the output is no terminal",
    )
    _add_node(made)
    made.add_argument(
        "--plugin", metavar="COMMAND", help="run this plugin instead of the installed one"
    )
    made.add_argument(
        "--keep", action="store_true", help="keep the temporary directory for inspection"
    )
    made.add_argument(
        "--verbose", action="store_true", help="show the plugin's log between the steps"
    )
    made.add_argument("--format", choices=("text", "json"), default="text", help="output format")
    made.words["scenario"] = shipped_names()
    return made


def _add_node(made: Parser) -> None:
    """Add what the node and its TEE are, by default as the scenario says."""
    made.add_argument(
        "--precision",
        metavar="KB",
        help=f"memory of one unit (default: the scenario's, or {MIN_PRECISION_KB})",
    )
    made.add_argument(
        "--total",
        metavar="SIZE",
        help=f"the TEE's memory (default: the scenario's, or {flag_size(DEFAULT_TOTAL_BYTES)})",
    )
    made.add_argument(
        "--reserve",
        metavar="SIZE",
        help="memory that the plugin reserves (default: the scenario's, or the backend's own)",
    )
    made.add_argument(
        "--backend",
        metavar="NAME",
        help="use your own backend instead of the simulated TEE; skip steps that control the TEE",
    )
    made.add_argument(
        "--backend-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of that backend; may be repeated",
    )
    made.add_argument(
        "--host-root",
        metavar="DIR",
        help="directory with the files that the backend's containers need (default: /)",
    )
    made.add_argument(
        "--resource-name",
        metavar="NAME",
        help=f"resource that pods request (default: the scenario's, or {DEFAULT_RESOURCE})",
    )
    made.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default="off",
        help="address of the plugin's metrics, probes and status (default: off)",
    )


def _scenario_lines() -> str:
    names = shipped_names()
    width = max(map(len, names))
    lines = (
        f"  {name.ljust(width)}  {read_scenario(_given('--scenario', name)).description}\n"
        for name in names
    )
    return "\nscenarios:\n" + "".join(lines)


def _given(flag: str, text: str) -> Given:
    return Given(text, origin=f"flag {flag}", place=f"{flag} ", spelling=f"{flag} ")


def _precision(text: str) -> int:
    return _by_the_plugins_rules("precision", text).precision_kb


def _reserve(flag: str | None, scenarios_bytes: int | None) -> int | None:
    return scenarios_bytes if flag is None else _by_the_plugins_rules("reserve", flag).reserve_bytes


def _resource_name(flag: str | None, scenarios: str) -> str:
    if flag is None:
        return scenarios
    return _by_the_plugins_rules("resource-name", flag).resource_name


def _by_the_plugins_rules(name: str, text: str) -> Settings:
    """Read one setting by the rules of the plugin, which is going to be started with it."""
    return load([FlagValue(name, f"--{name}", text)], {}).settings


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


def _own_plugin() -> tuple[str, ...]:
    """Give the command that starts the plugin that this simulator belongs to.

    Not `-m teeplugin`: in the image only the launcher knows where the packages are.
    """
    script = f"import sys; sys.path[:] = {sys.path}; from teeplugin.__main__ import run; run()"
    return (sys.executable, "-P", "-c", script)


def _command(text: str | None) -> tuple[str, ...]:
    if text is None:
        return _own_plugin()
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
