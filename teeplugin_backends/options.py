"""Declares and parses a backend's KEY=VALUE options.

A backend declares its options as the fields of a dataclass, each with a default and a kind, and
parses what the operator gave onto an instance of it:

    @dataclass(frozen=True)
    class Options:
        library: str = path("/usr/lib64/libacme.so")
        poll_seconds: float = seconds(2.0)

    options = parse_options(pairs, Options())

The option of the field `poll_seconds` is called `poll-seconds`. Every mistake is an OptionError in
one line that names the pair, the rule that it breaks and the fix. A default that breaks its own
rule is a ValueError at the import.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Final, TypeVar

from teeplugin_backends.base import OptionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PARSER: Final = "teeplugin_backends.options"
_LONGEST_PATH: Final = 4095
"""What Linux takes, without the zero at its end."""

_LONGEST_SHOWN: Final = 300
_LONGEST_GUESSED: Final = 80

# More digits are no TEE's, and Python refuses 4,301.
_SIZE: Final = re.compile(r"([0-9]{1,20})\s*(?:([kmgt])(?:ib?|b)?|b?)", re.IGNORECASE)

T = TypeVar("T")
Text = TypeVar("Text", str, str | None)
Declared = TypeVar("Declared", bound="DataclassInstance")


# ---- the kinds of options


def option(default: T, parse: Callable[[str], T]) -> T:
    """Declare an option of a kind of your own; `parse` raises OptionError with rule and fix."""
    return _declared(default, parse)


def text(default: Text, *, pattern: str = "", rule: str = "", example: str = "") -> Text:
    """Declare a text; one that doesn't match `pattern` in full is refused as not being `rule`."""

    def parse(given: str) -> str:
        if pattern and not re.fullmatch(pattern, given):
            raise OptionError(f"must be {rule}: give e.g. {example or default}")
        return given

    return _checked(default, parse)


def path(
    default: Text,
    *,
    under: str = "/",
    suffix: str = "",
    longest: int = _LONGEST_PATH,
    example: str = "",
) -> Text:
    """Declare an absolute path to a file; `longest` is in bytes, `example` completes "give …"."""
    example = example or f"e.g. {default}"

    def parse(given: str) -> str:
        if not given.startswith("/") or given.endswith("/") or not given.isprintable():
            raise OptionError(f"must be an absolute path to a file: give {example}")
        _check_place(given, under, longest, example)
        if not given.endswith(suffix):
            raise OptionError(f"must end in {suffix}: give {example}")
        return given

    return _checked(default, parse)


def directory(
    default: Text, *, under: str = "/", longest: int = _LONGEST_PATH, example: str = ""
) -> Text:
    """Declare an absolute path to a directory, of which slashes at the end are removed.

    `longest` is in bytes, `example` completes "give …".
    """
    example = example or f"e.g. {default}"

    def parse(given: str) -> str:
        if not given.startswith("/") or not given.isprintable():
            raise OptionError(f"must be an absolute path to a directory: give {example}")
        place = given.rstrip("/") or "/"
        _check_place(place, under, longest, example, end="/")
        return place

    return _checked(default, parse)


def choice(default: str, names: Iterable[str], *, example: str = "") -> str:
    """Declare one of `names`; `example` completes "give …", by default with the default."""
    known = tuple(names)

    def parse(given: str) -> str:
        if given not in known:
            rule = f"must be one of {', '.join(known)}"
            raise OptionError(f"{rule}: {_guess(given, known)}give {example or default}")
        return given

    return _checked(default, parse)


def size(default: int) -> int:
    """Declare a size in bytes, given as whole bytes or with K, M, G or T (1 K = 1,024 bytes)."""

    def parse(given: str) -> int:
        match = _SIZE.fullmatch(given)
        if match is None:
            raise OptionError("must be a whole size with K, M, G or T: give e.g. 64MiB")
        factor: int = 1024 ** ("kmgt".index(match[2].lower()) + 1 if match[2] else 0)
        return int(match[1]) * factor

    _check_default(str(default), parse)
    return _declared(default, parse)


def seconds(default: float) -> float:
    """Declare a duration in seconds, 0 or more."""

    def parse(given: str) -> float:
        try:
            value = float(given)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise OptionError("must be a number of seconds, 0 or more: give e.g. 0.5")
        return value

    _check_default(str(default), parse)
    return _declared(default, parse)


def boolean(default: bool) -> bool:
    """Declare a switch, given as true or false."""

    def parse(given: str) -> bool:
        if given not in ("true", "false"):
            raise OptionError("must be true or false: give true to switch it on")
        return given == "true"

    return _declared(default, parse)


# ---- parsing


def parse_options(pairs: Mapping[str, str], defaults: Declared) -> Declared:
    """Return `defaults` with the given values in place of its own.

    Raises:
        OptionError: a key is unknown, or a value breaks its option's rule.
    """
    known = option_parsers(defaults)
    values = {}
    for key, given in pairs.items():
        if key not in known:
            *others, last = known or ("none",)
            names = f"{', '.join(others)} and {last}" if others else last
            raise OptionError(
                f"{pair_text(key, given)}: no such option: {_guess(key, known)}there are {names}"
            )
        try:
            values[key.replace("-", "_")] = known[key](given)
        except OptionError as error:
            raise OptionError(f"{pair_text(key, given)}: {error}") from None
    return replace(defaults, **values)


def option_parsers(
    declared: "DataclassInstance | type[DataclassInstance]",
) -> Mapping[str, Callable[[str], object]]:
    """Return the parser of each option that a dataclass declares, by the option's name."""
    return {
        each.name.replace("_", "-"): each.metadata[_PARSER]
        for each in fields(declared)
        if _PARSER in each.metadata
    }


def pair_text(key: str, given: str) -> str:
    """Write a pair so that it fits into one line: long ones cut, unprintable ones quoted."""
    pair = f"{key}={given}"
    if len(pair) > _LONGEST_SHOWN:
        pair = f"{pair[:_LONGEST_SHOWN]}..."
    return pair if pair.isprintable() else repr(pair)


def _declared(default: T, parse: Callable[[str], object]) -> T:
    return field(default=default, metadata={_PARSER: parse})


def _checked(default: Text, parse: Callable[[str], str]) -> Text:
    if default is not None:
        _check_default(default, parse)
    return _declared(default, parse)


def _check_default(default: str, parse: Callable[[str], object]) -> None:
    """Refuse a default that its own rule would refuse, which the fix of a mistake recommends.

    Raises:
        ValueError: it breaks the rule; the author sees it as soon as the module is imported.
    """
    try:
        parse(default)
    except OptionError as error:
        rule = str(error).partition(": ")[0]
        raise ValueError(f"the default {default!r} of an option: {rule}") from None


def _check_place(given: str, under: str, longest: int, example: str, *, end: str = "") -> None:
    if not f"{given}{end}".startswith(under):
        raise OptionError(f"must be a path below {under.rstrip('/')}: give {example}")
    if len(given.encode()) > longest:
        raise OptionError(f"must have {longest} bytes or fewer: give a shorter path")


def _guess(word: str, names: Iterable[str]) -> str:
    import difflib  # noqa: PLC0415 - costs start-up time and is needed only for a mistake

    # Cut, because it takes quadratic time.
    found = difflib.get_close_matches(word[:_LONGEST_GUESSED].lower(), names, n=1)
    return f"did you mean {found[0]}? " if found else ""
