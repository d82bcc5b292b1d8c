"""What an operator writes: the file, flags and variables, a file that is read anew, and amounts."""

import contextlib
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from teeplugin.cli.main import COMMANDS
from teeplugin.config.go_flags import read_flags
from teeplugin.config.print_config import as_yaml
from teeplugin.config.settings import SETTINGS, ConfigError
from teeplugin.config.sources import CONFIG_KEY, FlagValue, Loaded, load
from teeplugin.config.validators import (
    MAX_BYTES,
    extended_resource,
    number,
    size,
    split_address,
    whole_number,
)
from teeplugin.daemon import reload
from teeplugin.policy.decide import Decision, PolicySettings, check_policy_settings
from teeplugin.policy.units import KIB, MIN_PRECISION_KB, format_size, parse_size
from teeplugin.simulator.amounts import Figures, Memory, Units
from teeplugin.simulator.registration_server import is_extended_resource_name
from teeplugin.tee.poller import TeePoller
from teeplugin_backends.base import OptionError, TeeMemory
from teeplugin_backends.simulated import SimulatedTee
from tests.fuzz.target import Target, as_text, check_line, in_memory

_MEMORY = TeeMemory(total_bytes=64 * KIB**2, free_bytes=0)
_FIGURES = Figures(all=128, free=100, allocated=20, unit_bytes=512 * KIB)
_SUMMARIES = dict.fromkeys(COMMANDS, "")


def _from_file(path: str) -> Loaded:
    return load([FlagValue(CONFIG_KEY, f"--{CONFIG_KEY}", path)], {})


def _printed_and_read_again(loaded: Loaded) -> None:
    """What --print-config writes is the same configuration."""
    text = as_yaml(loaded)
    with in_memory(text.encode()) as path:
        assert _from_file(path).settings == loaded.settings, text


def config_file(data: bytes) -> None:
    """Settings that can be printed and read again, or one line that names the file."""
    with in_memory(data) as path:
        try:
            loaded = _from_file(path)
        except ConfigError as error:
            check_line(error, path)
            return
    _printed_and_read_again(loaded)


def flags(data: bytes) -> None:
    """Words, one a line; those that begin with TEEPLUGIN_ are variables."""
    words = as_text(data.replace(b"\0", b"")).split("\n")
    if any("/proc" in word or "/sys" in word or "/dev" in word for word in words):
        return  # a file of the kernel's may wait, and nobody means it
    variables = [word for word in words if word.startswith("TEEPLUGIN_") and "=" in word]
    environ = dict(word.split("=", 1) for word in variables)
    try:
        line = read_flags([word for word in words if word not in variables], _SUMMARIES)
        loaded = load(line.values, environ)
    except ConfigError as error:
        check_line(error)
        return
    assert {value.key for value in line.values} <= {*SETTINGS, CONFIG_KEY}
    _printed_and_read_again(loaded)


class _Silent:
    """A log that nobody reads."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def reloaded(data: bytes) -> None:
    """A newer file: all that may change is in force and fits the TEE, or nothing has changed."""
    policy_settings = PolicySettings(unit_bytes=512 * KIB, reserve_bytes=0, interval_seconds=60.0)
    poller = SimpleNamespace(
        wanted=policy_settings,
        decision=Decision(memory=_MEMORY),
        default_reserve_bytes=0,
    )
    with (
        in_memory(data) as path,
        mock.patch.object(reload, "_log", _Silent()),
        mock.patch.object(reload, "configure"),
    ):
        settings = load([FlagValue("reserve", "--reserve", "0")], {}).settings
        sources = reload.Sources(lambda: _from_file(path).settings)
        reloader = reload.Reloader(settings, sources, cast("TeePoller", poller))
        changed = reloader.reload()
    if reloader.problem is not None:
        check_line(ConfigError(reloader.problem))
        assert not changed
        assert (reloader.settings, poller.wanted) == (settings, policy_settings)
        return
    kept = {setting.attribute for setting in SETTINGS.values()} - reload.CHANGEABLE
    assert all(getattr(reloader.settings, each) == getattr(settings, each) for each in kept)
    if reloader.settings.reserve_bytes is not None:
        assert check_policy_settings(_MEMORY, poller.wanted) is None, poller.wanted


def amounts(data: bytes) -> None:
    """Sizes, numbers, units, addresses and names: each by another reading of the same text."""
    text = as_text(data)
    _sizes(text)
    _units(text)
    with contextlib.suppress(ValueError):
        host, port = split_address(text)
        assert 0 <= port <= 65535
        assert text.endswith(f":{text.rpartition(':')[2]}")
        assert host is None or host in text
    try:
        accepted = extended_resource(text) == text
    except ValueError as error:
        check_line(error)
        accepted = False
    assert accepted == is_extended_resource_name(text), text
    if isinstance(seconds := number(text), float):
        assert seconds == float(text)
    if isinstance(count := whole_number(text), int):
        assert len(text) > 40 or count == int(text)


def _sizes(text: str) -> None:
    try:
        found = parse_size(text)
    except ValueError as error:
        check_line(error, "is not a")
        with contextlib.suppress(OptionError):
            assert SimulatedTee.from_options({"total": text}) is None, "the simulated TEE takes it"
    else:
        stripped = text.strip().lower().removesuffix("b").removesuffix("i")
        power = " kmgt".find(stripped[-1:]) if stripped[-1:] in {*"kmgt"} else 0
        assert found == Fraction(stripped.rstrip("kmgt \t\n\r\v\f")) * KIB**power, (text, found)
        if found < 10**100:  # more digits aren't read
            assert parse_size(format_size(found)) == found
    try:
        limited = size(text)
    except ValueError as error:
        check_line(error)
    else:
        assert limited == text or 0 <= cast("int", limited) <= MAX_BYTES


def _units(text: str) -> None:
    try:
        memory = Memory.of(text)
        assert memory.bytes(_FIGURES) >= 0
        assert Memory.of(memory.text(_FIGURES)).bytes(_FIGURES) == memory.bytes(_FIGURES)
    except ValueError as error:
        check_line(error)
    with contextlib.suppress(ValueError):
        assert 0 <= Units.of(text).count(_FIGURES) < 10**8


_KEYS = tuple(f"{key}: " for key in SETTINGS)
_YAML = ("\n  ", "&a ", "*a", "!!bool ", "!!null ", "<<: ", '"\\U0010ffff"', "'", "[", "{", "? ")

TARGETS = (
    Target(
        "config-file", config_file, words=(*_KEYS, *_YAML, str(MIN_PRECISION_KB), "%YAML 1.1\n")
    ),
    Target(
        "flags",
        flags,
        words=(
            *(f"\n{flag}\n" for each in SETTINGS.values() for flag in each.flags),
            *(f"\n{each.variable}=" for each in SETTINGS.values()),
            *("\n--print-config", "\n-h", "total=64MiB", "600MiB", "512", "[::1]:9840"),
        ),
    ),
    Target(
        "reload",
        reloaded,
        words=(
            "reserve: 8MiB",
            "health-interval: 5",
            "log-level: debug",
            "precision: 1024",
            *_KEYS,
        ),
    ),
    Target(
        "amounts",
        amounts,
        words=(
            *("KiB", "PB", "1.5", "all - ", "free + ", "allocated", " units", "[::1]:", ":9840"),
            *("kubernetes.io/", "requests.", "example.com/", "1e300", "+0"),
        ),
        most_bytes=5000,
    ),
)
