"""`tee-device-plugin completion`: completes commands, flags and values in bash and zsh."""

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence

from teeplugin.cli.console import put
from teeplugin.cli.main import COMMANDS
from teeplugin.cli.pages import HELP, VERSION
from teeplugin.cli.parser import CommandParser, Parser
from teeplugin.commands.completion_scripts import Flag, Kind, Offer, bash, zsh
from teeplugin.config.go_flags import SWITCHES
from teeplugin.config.settings import SETTINGS, Setting, Settings
from teeplugin.config.sources import CONFIG_KEY
from teeplugin.tee.entry_points import installed_names

_DESCRIPTION = """\
Print a script that completes commands, flags and their values with the Tab key. Load it for one
session with `source <(tee-device-plugin completion bash)`, or write it where the shell looks:
/etc/bash_completion.d/tee-device-plugin, or _tee-device-plugin in a directory of zsh's fpath."""

_SHELLS: Mapping[str, Callable[[Sequence[Offer]], str]] = {"bash": bash, "zsh": zsh}

_KINDS: Mapping[str, Kind] = {
    "FILE": Kind.FILE,
    "[TA=]FILE": Kind.FILE,
    "NAME|FILE": Kind.FILE,
    "PATH": Kind.FILE,
    "COMMAND": Kind.FILE,
    "DIR": Kind.DIRECTORY,
}
"""What to complete a value with, by its metavar; others are for the user to type."""


def parser() -> Parser:
    """Give the command's flags."""
    made = Parser("completion", usage="%(prog)s bash|zsh", description=_DESCRIPTION)
    made.add_argument("shell", choices=tuple(_SHELLS), help="the shell")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the script and give the exit status.

    Raises:
        ConfigError: the shell is none of those.
    """
    flags = parser().parse_args(argv)
    return put(_SHELLS[flags.shell](offers()), for_programs=True)


def offers() -> list[Offer]:
    """Collect what there is to complete: the daemon's flags, and each command."""
    daemon = [_flag_of(setting, name) for setting in SETTINGS.values() for name in setting.flags]
    daemon.append(Flag(f"--{CONFIG_KEY}", "read settings from a YAML file", Kind.FILE))
    switches = [Flag(f"--{name}", f"print {text}") for name, text in SWITCHES.items()]
    names = (*COMMANDS, HELP, VERSION)
    found = [
        Offer("", "", (*daemon, *switches), names),
        Offer(HELP, "explain a command", (), names),
        Offer(VERSION, "print the version", ()),
    ]
    for name, command in COMMANDS.items():
        made = importlib.import_module(command.module).parser()
        own = [each for action in made.flags for each in _flags_of(made, action)]
        places = [each for each in made.arguments if not each.option_strings]
        found.append(
            Offer(
                name,
                command.summary,
                (*own, *(daemon if isinstance(made, CommandParser) else ())),
                tuple(str(word) for each in places for word in each.choices or ()),
                Kind.FILE if any(each.metavar == "FILE" for each in places) else Kind.NONE,
            )
        )
    return found


def _flags_of(made: Parser, action: argparse.Action) -> list[Flag]:
    words = tuple(map(str, action.choices or made.words.get(action.dest, ())))
    if action.dest == "backend":
        words = installed_names()
    takes = Kind.NONE if action.nargs == 0 else _KINDS.get(str(action.metavar), Kind.TEXT)
    return [Flag(name, action.help or "", takes, words) for name in action.option_strings]


def _flag_of(setting: Setting, name: str) -> Flag:
    kind = _KINDS.get(setting.metavar, Kind.TEXT)
    return Flag(name, setting.description, kind, _words_of(setting))


def _words_of(setting: Setting) -> tuple[str, ...]:
    """Give the values that a setting may have, where they can be listed."""
    if setting.key == "backend":
        return installed_names()
    schema = Settings.model_json_schema()["properties"][setting.attribute]
    return tuple(map(str, schema.get("enum", ())))
