"""The daemon's flags, from the settings' own table and read as Go reads flags.

Command lines of the Go plugin must go on working: one dash or two, `-flag value` or
`-flag=value`, values that begin with a dash, and the last of repeated flags counts. argparse
reads several of these as abbreviations or unknown flags, so the few rules stand here instead.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from teeplugin.config.settings import SETTINGS, ConfigError, Setting, nearest, shown
from teeplugin.config.sources import CONFIG_KEY, FlagValue

SWITCHES: Mapping[str, str] = {
    "print-config": "all settings",
    "version": "the version",
    "help": "this",
}
_CONFIG_FLAG = f"--{CONFIG_KEY}"
_HELP = {"help", "h"}
_SHORT = {"V": "version"}

_KEYS = {
    CONFIG_KEY: CONFIG_KEY,
    **{flag.lstrip("-"): key for key, setting in SETTINGS.items() for flag in setting.flags},
}
"""The setting that each flag gives, by the flag's name without its dashes."""


class CommandLine(NamedTuple):
    """What the flags say: the switches that were set, and values in the order they were given.

    `without_dash` are words like `internal=60`, which stand in manifests of the original plugin: Go
    ignores them, here they are taken as they are meant.
    """

    switches: frozenset[str]
    values: tuple[FlagValue, ...]
    without_dash: tuple[str, ...] = ()


def read_flags(
    words: Sequence[str],
    commands: Mapping[str, str],
    others: Collection[str] = (),
    program: str = "",
) -> CommandLine:
    """Read the daemon's flags; whatever follows --help doesn't matter any more.

    `others` are flags of the command that these stand beside, for a guess at what was meant, and
    `program` is how that is called, for the fix to name its help.

    Raises:
        ConfigError: a flag is unknown or lacks its value, or a word stands where none may.
    """
    switches: set[str] = set()
    values: list[FlagValue] = []
    without_dash: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word == "--" and not rest:
            break
        flag, equals, text = word.partition("=")
        name = _name(flag)
        if name is None and equals and flag in _KEYS:
            without_dash.append(word)
            name = flag
        if name is None:
            raise _stray(word, commands, program)
        name = _SHORT.get(name, name)
        if name in _HELP:
            return CommandLine(frozenset({"help"}), ())
        if name in SWITCHES:
            if equals:
                raise ConfigError(f"{shown(word)}: takes no value: give {flag} alone")
            switches.add(name)
        elif name in _KEYS:
            if not equals:
                text = _value_of(flag, _KEYS[name], rest)
            values.append(FlagValue(_KEYS[name], flag, text))
        else:
            raise _unknown(flag, name, others, program)
    return CommandLine(frozenset(switches), tuple(values), tuple(without_dash))


def _name(word: str) -> str | None:
    """Give the name after one dash or two; None where that is no flag."""
    name = word[2:] if word.startswith("--") else word[1:]
    return name if word.startswith("-") and name else None


def _value_of(flag: str, key: str, rest: deque[str]) -> str:
    """Take the next word, even if it begins with a dash, unless it is another flag of ours."""
    if rest:
        name = _name(rest[0].partition("=")[0])
        if name not in _KEYS and name not in SWITCHES and name not in _HELP:
            return rest.popleft()
    setting = SETTINGS.get(key)
    fix = f"{setting.rule}, e.g. {flag} {setting.example}" if setting else "a YAML file"
    raise ConfigError(f"{flag}: needs a value: give {fix}")


def _unknown(flag: str, name: str, others: Collection[str], program: str) -> ConfigError:
    spelled = {flag.lstrip("-"): flag for each in SETTINGS.values() for flag in each.flags}
    spelled |= {flag.lstrip("-"): flag for flag in others}
    meant = nearest(name.replace("_", "-"), dict.fromkeys([*_KEYS, *SWITCHES, *spelled]))
    guess = f"did you mean {spelled.get(meant, f'--{meant}')}? " if meant else ""
    return ConfigError(f"{shown(flag)}: unknown flag: {guess}{_help_of(program)} lists them")


def _stray(word: str, commands: Mapping[str, str], program: str) -> ConfigError:
    """Refuse a word that is no flag: an unknown command, or a known one in the wrong place."""
    if not commands:
        return ConfigError(f"{shown(word)}: is not a flag: {_help_of(program)} lists them")
    if word in commands:
        return ConfigError(f"{word}: must be the first word: give its flags after it")
    meant = nearest(word, commands)
    guess = f"did you mean {meant}? " if meant else ""
    return ConfigError(
        f"{shown(word)}: unknown command: {guess}"
        f"the commands are {', '.join(commands)}; without a command, the device plugin runs"
    )


def _help_of(program: str) -> str:
    return f"{program} --help".lstrip()


def help_text(program: str, commands: Mapping[str, str]) -> str:
    """Write the help, for a screen of 80 x 24."""
    rows = list(_help_rows())
    column = max(len(left) for left, _ in rows)
    flags = "".join(f"  {left.ljust(column)}  {right}\n" for left, right in rows)
    rare = ", ".join(each.flags[0] for each in SETTINGS.values() if each.rare)
    flags += f"  {rare}  rarely needed\n"
    switches = ", ".join(f"--{name}" for name in SWITCHES)
    flags += f"  {switches}  print {', '.join(SWITCHES.values())}\n"
    names = max(map(len, commands))
    texts = [f"{name.ljust(names)}  {text}" for name, text in commands.items()]
    # In two columns: there are as many commands as a screen has lines left.
    pairs = zip_longest(texts[::2], texts[1::2], fillvalue="")
    listed = "".join(f"  {left.ljust(38)} {right}".rstrip() + "\n" for left, right in pairs)
    return (
        f"usage: {program} [COMMAND] [FLAGS]    default: run the device plugin\n"
        "flags (defaults); each also as YAML key or as TEEPLUGIN_NAME in the environment:\n"
        f"{flags}"
        "commands (see help COMMAND):\n"
        f"{listed}"
    )


def _help_rows() -> Iterator[tuple[str, str]]:
    for setting in SETTINGS.values():
        if setting.rare:
            continue
        yield _help_row(setting)
        for alias in setting.flags[1:]:
            yield f"{alias} {setting.metavar}", f"the same as {setting.flags[0]}"
    yield f"{_CONFIG_FLAG} FILE", "read settings from a YAML file"


def _help_row(setting: Setting) -> tuple[str, str]:
    return f"{setting.flags[0]} {setting.metavar}", f"{setting.description} ({setting.default})"
