"""The flags that `size` and `pod` share, and the estimate that they ask for."""

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from teeplugin.cli.console import warn
from teeplugin.cli.parser import Parser
from teeplugin.commands.sizing.binary import code_bytes
from teeplugin.commands.sizing.description import Description
from teeplugin.commands.sizing.estimate import Application, Estimate
from teeplugin.commands.sizing.files import read_descriptions
from teeplugin.commands.sizing.memory import Load
from teeplugin.config.settings import SETTINGS, ConfigError, Settings, shown
from teeplugin.config.sources import FlagValue, load
from teeplugin.policy.units import MAX_UNITS, finest_precision_kb

MAX_SESSIONS = 10_000
"""Far more than a TEE has threads for: a larger number is a slip."""

_READ_SETTINGS = ("precision", "resource-name")
_DIGITS = re.compile(r"[0-9]{1,9}")


class _Choice(NamedTuple):
    """A flag's value, and the TA that it is for; None: for all of them."""

    ta: int | None
    text: str


def add_arguments(parser: Parser) -> None:
    """Add the flags and the files that the estimate is made from."""
    precision, resource = (SETTINGS[key] for key in _READ_SETTINGS)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a configs.xml or manifest.txt; -: standard input"
    )
    parser.add_argument(
        "-precision",
        "--precision",
        metavar="KB",
        help=f"memory of a unit, as the plugin is configured ({precision.default})",
    )
    parser.add_argument(
        "--resource-name",
        metavar="NAME",
        help=f"resource that pods request ({resource.default})",
    )
    parser.add_argument(
        "--sessions",
        action="append",
        default=[],
        metavar="[TA=]N",
        help="concurrent sessions, of each TA or of the TA with this UUID or name (1)",
    )
    parser.add_argument(
        "--binary",
        action="append",
        default=[],
        metavar="[TA=]FILE",
        help="the TA's libcombine.so, for the exact size of its code and data",
    )


def estimate(flags: argparse.Namespace) -> Estimate:
    """Read the files and put together what the flags ask for.

    Raises:
        ConfigError: a file or a flag can't be used, or no node can have so many units.
    """
    settings = _settings(flags)
    descriptions = read_descriptions(flags.files)
    sessions = _sessions(flags.sessions, descriptions)
    paths = _binaries(flags.binary, descriptions)
    binaries = {
        index: (code_bytes(path), Path(path).stat().st_size) for index, path in paths.items()
    }
    applications = tuple(
        Application(
            each,
            Load(
                heap_bytes=each.heap_bytes,
                stack_bytes=each.stack_bytes,
                single_instance=each.single_instance,
                multi_session=each.multi_session,
                sessions=sessions[index],
                code_bytes=binaries[index][0] if index in binaries else None,
                heap_stated="heap_size" in each.written,
                stack_stated="stack_size" in each.written,
            ),
            binary_bytes=binaries[index][1] if index in binaries else None,
        )
        for index, each in enumerate(descriptions)
    )
    made = Estimate(applications, settings.precision_kb, settings.resource_name)
    rounded = made.rounded
    if rounded.units > MAX_UNITS:
        # Counts whole units, and the last one here need not be whole: it is left out on both sides.
        finest_kb = finest_precision_kb(rounded.needed_bytes - 1, MAX_UNITS - 1)
        raise ConfigError(
            f"{rounded.units} units of {settings.precision_kb} KiB: no node can list more than "
            f"{MAX_UNITS}: give --precision {finest_kb} or more"
        )
    return made


def _settings(flags: argparse.Namespace) -> Settings:
    """Read what concerns units as the daemon does: flags, its variables, its file, the default."""
    given = {"precision": flags.precision, "resource-name": flags.resource_name}
    values = [FlagValue(key, f"--{key}", text) for key, text in given.items() if text is not None]
    # The daemon's others, like its directory, needn't make sense where this runs.
    loaded = load(values, os.environ, _READ_SETTINGS)
    warn(doubt.line for doubt in loaded.doubts)
    return loaded.settings


def _sessions(texts: Sequence[str], descriptions: Sequence[Description]) -> Mapping[int, int]:
    """Give each TA's number of sessions, by its place in the list."""
    numbers = dict.fromkeys(range(len(descriptions)), 1)
    for text in texts:
        choice = _choice("--sessions", text, descriptions)
        if not _DIGITS.fullmatch(choice.text) or not 1 <= int(choice.text) <= MAX_SESSIONS:
            raise ConfigError(
                f"--sessions {shown(text)}: must be a whole number from 1 to {MAX_SESSIONS}: "
                "give e.g. --sessions 2"
            )
        for index in range(len(descriptions)) if choice.ta is None else (choice.ta,):
            numbers[index] = int(choice.text)
            _check_sessions(text, descriptions[index], int(choice.text))
    return numbers


def _check_sessions(text: str, description: Description, sessions: int) -> None:
    if sessions > 1 and description.single_instance and not description.multi_session:
        raise ConfigError(
            f"--sessions {shown(text)}: {shown(description.name)} is single-instance and not "
            "multi-session, so a second session finds it busy: give 1, or set multi_session"
        )


def _binaries(texts: Sequence[str], descriptions: Sequence[Description]) -> Mapping[int, str]:
    """Give the paths of the binaries that are named, by their TAs' places in the list."""
    found: dict[int, str] = {}
    for text in texts:
        choice = _choice("--binary", text, descriptions)
        if choice.ta is None and len(descriptions) > 1:
            raise ConfigError(
                f"--binary {shown(text)}: doesn't say of which TA: give --binary TA=FILE, "
                f"with {_names(descriptions)}"
            )
        found[choice.ta or 0] = choice.text
    return found


def _choice(flag: str, text: str, descriptions: Sequence[Description]) -> _Choice:
    """Split TA=VALUE; a text whose beginning names no TA is all value.

    A TA's name may have an = itself, so the longest name that the text begins with counts.
    """
    lengths = [_length_of_name(each, text) for each in descriptions]
    longest = max(lengths)
    if not longest:
        name, equals, _ = text.rpartition("=")
        if equals and flag == "--sessions":
            raise ConfigError(
                f"{flag} {shown(text)}: no TA is called {shown(name)}: "
                f"give one of {_names(descriptions)}"
            )
        return _Choice(None, text)
    if lengths.count(longest) > 1:
        raise ConfigError(f"{flag} {shown(text)}: several TAs are called so: give the UUID")
    return _Choice(lengths.index(longest), text[longest + 1 :])


def _length_of_name(description: Description, text: str) -> int:
    """Count the characters by which the text calls the TA before an =; 0: it doesn't."""
    names = [description.service_name, *description.files]
    called = [len(name) for name in names if name and text.startswith(f"{name}=")]
    if description.uuid and text.lower().startswith(f"{description.uuid}="):
        called.append(len(description.uuid))
    return max(called, default=0)


def _names(descriptions: Sequence[Description]) -> str:
    return ", ".join(shown(each.name) for each in descriptions)
