"""A TEE that isn't there: for laptops, CI and the tour; chosen only by `--backend simulated`.

Its memory and faults come from options and, while it runs, from a small state file of the same
`key = value` lines, read again at every query, so that a person or a test can play the TEE:
`echo fault=unreachable >> state`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

import anyio

from teeplugin_backends.base import (
    TEE_ERRORS,
    BadReply,
    ContainerAccess,
    Device,
    Finding,
    Mount,
    OptionError,
    TeeBackend,
    TeeError,
    TeeMemory,
)

_FAULTS: Final[Mapping[str, type[TeeError]]] = MappingProxyType(
    {kind.kind: kind for kind in TEE_ERRORS}
)
_OTHER_FAULTS = ("none", "hang", "bug")

_ACCESS: Final[Mapping[str, ContainerAccess]] = MappingProxyType(
    {
        "none": ContainerAccess(),
        "itrustee": ContainerAccess(
            mounts=(Mount("/var/itrustee/teecd", "/var/itrustee/teecd", read_only=True),),
            devices=(
                Device("/dev/teelog", "/dev/teelog", "rw"),
                Device("/dev/tc_ns_cvm", "/dev/tc_ns_cvm", "rw"),
            ),
        ),
    }
)

# More digits are no TEE's, and Python refuses 4,301.
_SIZE = re.compile(r"([0-9]{1,20})\s*(?:([kmgt])(?:i?b)?|b?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Script:
    """What the TEE plays: sizes in bytes, `latency` in seconds."""

    total: int = 64 * 1024**2
    pods: int = 0
    others: int = 0
    latency: float = 0.0
    fault: str = "none"


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise OptionError("must be a whole size with K, M, G or T, like 64MiB")
    factor: int = 1024 ** ("kmgt".index(match[2].lower()) + 1 if match[2] else 0)
    return int(match[1]) * factor


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise OptionError("must be a number of seconds, 0 or more")
    return seconds


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise OptionError(f"must be one of {', '.join(names)}")
        return text

    return parse


_SCRIPT_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {
        "total": _size,
        "pods": _size,
        "others": _size,
        "latency": _seconds,
        "fault": _one_of(*_OTHER_FAULTS, *_FAULTS),
    }
)
_OPTION_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = MappingProxyType(
    {**_SCRIPT_PARSERS, "access": _one_of(*_ACCESS), "state": Path}
)


def _parse(pairs: Mapping[str, str], parsers: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    """Turn texts into values; the error names the pair, the rule and what there is instead."""
    values = {}
    for key, text in pairs.items():
        if key not in parsers:
            raise OptionError(f"{key}={text}: no such option: there are {', '.join(parsers)}")
        try:
            values[key] = parsers[key](text)
        except OptionError as error:
            raise OptionError(f"{key}={text}: {error}") from None
    return values


def _lines(text: str) -> dict[str, str]:
    """Read `key = value` lines, `#` beginning a comment; of a repeated key the last line counts."""
    pairs = {}
    for line in text.splitlines():
        content = line.partition("#")[0].strip()
        if content:
            key, equals, value = content.partition("=")
            if not equals:
                raise OptionError(f"{content}: must be a line key=value")
            pairs[key.strip()] = value.strip()
    return pairs


@dataclass(frozen=True, slots=True)
class SimulatedTee(TeeBackend):
    """A scripted TEE.

    Options: `total`, `pods` (taken by pods' trusted applications), `others` (taken outside
    Kubernetes) as sizes; `latency` in seconds; `fault` (`none`, every kind of TeeError, `hang`, or
    `bug` for an exception no backend may raise); `access` (`none`, `itrustee`: what containers are
    handed); `state`, the file whose lines override the options except `access` and `state`. A
    state file that doesn't exist yet says nothing.
    """

    simulated: ClassVar[bool] = True

    script: _Script = field(default_factory=_Script)
    access_name: str = "none"
    state: Path | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make it from the options above."""
        values = _parse(options, _OPTION_PARSERS)
        access_name, state = values.pop("access", "none"), values.pop("state", None)
        return cls(script=_Script(**values), access_name=access_name, state=state)

    async def memory(self) -> TeeMemory:
        """Answer, fail or hang as the script now says; what the script can't mean is BadReply."""
        script = self._current()
        await anyio.sleep(script.latency)
        match script.fault:
            case "none":
                pass
            case "hang":
                await anyio.sleep_forever()
            case "bug":
                raise RuntimeError("the simulated TEE was told to have a bug")
            case kind:
                raise _FAULTS[kind]("the simulated TEE was told to fail so")
        free_bytes = max(0, script.total - script.pods - script.others)
        try:
            return TeeMemory(total_bytes=script.total, free_bytes=free_bytes)
        except ValueError as error:
            raise BadReply(f"the simulated TEE answers {error}") from None

    def access(self) -> ContainerAccess:
        """What the option `access` names."""
        return _ACCESS[self.access_name]

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        """Tell of the state file, the one thing that may be wrong on the way."""
        del host_root
        check = "state-file"
        if self.state is None:
            return (Finding.not_applicable(check, "the option state names no file"),)
        try:
            fault = self._current().fault
        except BadReply as error:
            return (Finding.failed(check, str(error), error.cure),)
        there = "" if self.state.exists() else " isn't there yet, the options count"
        return (Finding.ok(check, f"{self.state}{there}: fault={fault}"),)

    def _current(self) -> _Script:
        if self.state is None:
            return self.script
        try:
            pairs = _lines(self.state.read_text(encoding="utf-8"))
            return replace(self.script, **_parse(pairs, _SCRIPT_PARSERS))
        except FileNotFoundError:
            return self.script
        except (OSError, ValueError) as error:  # no UTF-8, no option, or a NUL in the path
            raise BadReply(
                f"state file {self.state}: {error}", cure="mend the simulated TEE's state file"
            ) from error
