"""A TEE that isn't there: for laptops, CI and the tour; chosen only by `--backend simulated`.

Its memory and faults come from options and, while it runs, from a small state file of the same
`key = value` lines, read again at every query, so that a person or a test can play the TEE:
`echo fault=unreachable >> state`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Final, Self

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
from teeplugin_backends.options import choice, parse_options, seconds, size, text

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


@dataclass(frozen=True, slots=True)
class Script:
    """What the TEE plays; the state file may override each of these."""

    total: int = size(64 * 1024**2)
    pods: int = size(0)
    others: int = size(0)
    latency: float = seconds(0.0)
    fault: str = choice("none", (*_OTHER_FAULTS, *_FAULTS))


@dataclass(frozen=True, slots=True)
class Options(Script):
    """What the operator gives: the script, and what is fixed while the plugin runs."""

    access: str = choice("none", _ACCESS)
    state: str | None = text(None)


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

    options: Options = field(default_factory=Options)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make it from the options above."""
        return cls(parse_options(options, Options()))

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
                raise RuntimeError("a simulated bug, as the options say")
            case kind:
                raise _FAULTS[kind]("a simulated fault, as the options say")
        free_bytes = max(0, script.total - script.pods - script.others)
        try:
            return TeeMemory(total_bytes=script.total, free_bytes=free_bytes)
        except ValueError as error:
            raise BadReply(f"the simulated TEE answers {error}") from None

    def access(self) -> ContainerAccess:
        """What the option `access` names."""
        return _ACCESS[self.options.access]

    @property
    def limited_containers(self) -> int:
        """As many as iTrustee, where it plays that."""
        return 63 if self.options.access == "itrustee" else 0

    @property
    def flavour(self) -> str:
        """That it is no real one."""
        return "simulated"

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        """Tell of the state file, the one thing that may be wrong on the way."""
        del host_root
        return (self._state_file(),)

    def _state_file(self) -> Finding:
        check, path = "state-file", self.options.state
        if path is None:
            return Finding.not_applicable(check, "the option state names no file")
        try:
            fault = self._current().fault
        except BadReply as error:
            return Finding.failed(check, str(error), error.fix)
        there = "" if Path(path).exists() else " isn't there yet, the options count"
        return Finding.ok(check, f"{path}{there}: fault={fault}")

    def _current(self) -> Script:
        path = self.options.state
        if path is None:
            return self.options
        script = Script(**{each.name: getattr(self.options, each.name) for each in fields(Script)})
        try:
            return parse_options(_lines(Path(path).read_text(encoding="utf-8")), script)
        except FileNotFoundError:
            return script
        except (OSError, ValueError) as error:  # no UTF-8, no option, or a NUL in the path
            raise BadReply(
                f"state file {path}: {error}", fix="mend the simulated TEE's state file"
            ) from error
