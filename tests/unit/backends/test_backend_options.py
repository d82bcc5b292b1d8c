"""The options that backends declare: kinds, defaults, and one clear line for every mistake."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin_backends.base import OptionError
from teeplugin_backends.options import (
    boolean,
    choice,
    directory,
    option,
    option_parsers,
    parse_options,
    path,
    seconds,
    size,
    text,
)


def _port(given_text: str) -> int:
    if not given_text.isdecimal():
        raise OptionError("must be a port: give e.g. 8080")
    return int(given_text)


@dataclass(frozen=True)
class Options:
    """One of each kind, and a field that is no option."""

    label: str | None = text(None)
    user: str = text("root", pattern="[a-z]+", rule="a name in small letters")
    library: str | None = path(None, suffix=".so", longest=20, example="e.g. /lib/libacme.so")
    device: str = path("/dev/acme", under="/dev/")
    root: str = directory("/")
    cgroup: str = directory("/sys/fs/cgroup", under="/sys/", longest=40)
    mode: str = choice("auto", ("auto", "fast", "safe"))
    room: int = size(4096)
    poll_seconds: float = seconds(2.0)
    cached: bool = boolean(True)
    port: int = option(80, _port)
    internal: int = 7


def parsed(**pairs: str) -> Options:
    return parse_options({key.replace("_", "-"): each for key, each in pairs.items()}, Options())


def test_what_is_not_given_is_the_default() -> None:
    assert parsed() == Options(poll_seconds=2.0, room=4096, device="/dev/acme", internal=7)


def test_each_kind_gives_its_value() -> None:
    assert parsed(
        label="",
        user="tee",
        library="/lib/a.so",
        device="/dev/b/c",
        root="/host/",
        cgroup="/sys/a",
        mode="safe",
        room="3 MiB",
        poll_seconds="0.25",
        cached="false",
        port="8080",
    ) == Options(
        label="",
        user="tee",
        library="/lib/a.so",
        device="/dev/b/c",
        root="/host",
        cgroup="/sys/a",
        mode="safe",
        room=3 * 1024**2,
        poll_seconds=0.25,
        cached=False,
        port=8080,
    )


def test_a_directory_of_the_longest_length_is_taken() -> None:
    longest = f"/sys/{'a' * 35}"
    assert parsed(cgroup=f"{longest}/").cgroup == longest


@pytest.mark.parametrize("given", ["/", "//"])
def test_the_root_is_a_directory(given: str) -> None:
    assert parsed(root=given).root == "/"


@pytest.mark.parametrize(
    ("declare", "line"),
    [
        (lambda: path("/"), "the default '/' of an option: must be an absolute path to a file"),
        (lambda: path("/sys/a", under="/dev/"), "must be a path below /dev"),
        (lambda: directory("sys"), "must be an absolute path to a directory"),
        (lambda: text("Root", pattern="[a-z]+", rule="small letters"), "must be small letters"),
        (lambda: choice("slow", ("fast", "safe")), "must be one of fast, safe"),
        (lambda: size(-1), "must be a whole size"),
        (lambda: seconds(-0.5), "must be a number of seconds"),
    ],
)
def test_a_default_keeps_its_own_rule(declare: Callable[[], object], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)):
        declare()


def test_what_was_given_before_stays_where_nothing_new_is_given() -> None:
    first = parsed(mode="fast", room="1K")
    assert parse_options({"room": "2K"}, first) == parsed(mode="fast", room="2K")


@pytest.mark.parametrize("given", ["3Mi", "3M", "3MB", "3mib", "3072Ki", "3145728"])
def test_a_size_may_be_spelled_as_in_kubernetes(given: str) -> None:
    assert parsed(room=given).room == 3 * 1024**2


def test_only_declared_fields_are_options() -> None:
    assert "poll-seconds" in option_parsers(Options)
    assert not {"internal", "poll_seconds"} & set(option_parsers(Options()))


# Pair, rule and fix of each, in this order.
MISTAKES: list[tuple[str, str, list[str]]] = [
    ("user", "Root", ["user=Root: ", "must be a name in small letters", "give e.g. root"]),
    ("user", "tee\n", [r"'user=tee\n': ", "small letters", "give"]),
    ("library", "a.so", ["library=a.so: ", "absolute path to a file", "/lib/libacme.so"]),
    ("library", "/lib/", ["library=/lib/: ", "absolute path to a file", "give"]),
    ("library", "/lib/a", ["library=/lib/a: ", "must end in .so", "/lib/libacme.so"]),
    ("library", f"/{'é' * 9}.so", ["library=/é", "20 bytes or fewer", "shorter"]),
    ("device", "/acme", ["device=/acme: ", "below /dev", "give e.g. /dev/acme"]),
    ("root", "sys", ["root=sys: ", "absolute path to a directory", "give e.g. /"]),
    ("cgroup", "/sysfs", ["cgroup=/sysfs: ", "below /sys", "give e.g. /sys/fs/cgroup"]),
    ("cgroup", f"/sys/{'a' * 36}/", ["cgroup=/sys/a", "40 bytes or fewer", "shorter"]),
    ("mode", "save", ["mode=save: ", "one of auto, fast, safe", "did you mean safe?"]),
    ("mode", "slow", ["mode=slow: ", "one of auto, fast, safe", "give auto"]),
    ("room", "5i", ["room=5i: ", "K, M, G or T", "give e.g. 64MiB"]),
    ("room", "1.5G", ["room=1.5G: ", "K, M, G or T", "give e.g. 64MiB"]),
    ("poll-seconds", "-1", ["poll-seconds=-1: ", "0 or more", "give e.g. 0.5"]),
    ("poll-seconds", "nan", ["poll-seconds=nan: ", "number of seconds", "give"]),
    ("poll-seconds", "inf", ["poll-seconds=inf: ", "number of seconds", "give"]),
    ("cached", "yes", ["cached=yes: ", "true or false", "give true"]),
    ("port", "http", ["port=http: ", "must be a port", "give e.g. 8080"]),
    ("internal", "1", ["internal=1: ", "no such option", "there are label, user, "]),
    ("moed", "auto", ["moed=auto: ", "no such option", "did you mean mode?", "there are"]),
    ("poll_seconds", "1", ["poll_seconds=1: ", "did you mean poll-seconds?"]),
]


@pytest.mark.parametrize(("key", "value", "parts"), MISTAKES)
def test_a_mistake_is_one_line_with_pair_rule_and_fix(
    key: str, value: str, parts: list[str]
) -> None:
    with pytest.raises(OptionError) as caught:
        parse_options({key: value}, Options())
    line = str(caught.value)
    places = [line.find(part) for part in parts]
    assert -1 not in places, line
    assert places == sorted(places), line


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*option_parsers(Options), "x"]), st.text(), min_size=1))
def test_whatever_is_given_is_an_option_or_one_line(pairs: Mapping[str, str]) -> None:
    line = ""
    try:
        parse_options(pairs, Options())
    except OptionError as error:
        line = str(error)
    assert line.isprintable()
    assert len(line) < 600


def test_a_dataclass_without_options_has_none() -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    with pytest.raises(OptionError, match="a=b: no such option: there are none"):
        parse_options({"a": "b"}, Nothing())
