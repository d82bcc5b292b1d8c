"""What doctor has seen: gathered by looks, judged by the checks; nothing here looks at anything.

A part that is still None wasn't come to: what should have been seen before it never returned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import pydantic

from teeplugin.config.settings import Settings
from teeplugin.config.sources import Loaded
from teeplugin.kubelet.directory_safety import Weakness
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.cdi_spec import Mismatch
from teeplugin.policy.device_list import IdSet
from teeplugin_backends.base import Finding, TeeError, TeeMemory

T = TypeVar("T")


class Phase(IntEnum):
    """How far the looks have come: all evidence of a phase is there once it is reached."""

    SETTINGS = auto()
    NODE = auto()
    TEE = auto()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the backend gave for one query, a reading or an error, and how long that took.

    `reserve_bytes`, `host_paths`, `missing_fix` and `limited_containers` are the backend's own,
    and None, empty or 0 without a reading. `findings` are its checks; `bugs` is what it did besides
    that no backend may do, in words.
    """

    reading: TeeMemory | None = None
    error: TeeError | None = None
    seconds: float = 0.0
    reserve_bytes: int | None = None
    host_paths: tuple[str, ...] | None = None
    missing_fix: str = ""
    limited_containers: int = 0
    findings: Sequence[Finding] = ()
    bugs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class DirectorySeen:
    """The kubelet's device-plugins directory; `problem` is why it can't be looked at."""

    path: Path
    problem: str = ""
    is_missing: bool = False
    is_dead_mount: bool = False
    is_writable: bool = False
    refused_by: str = ""
    """Who refuses it and what to do, where that is a matter of permission."""
    weakness: Weakness | None = None
    """Why the plugin wouldn't listen there: others could exchange its socket for theirs."""
    mode: int = 0


@dataclass(frozen=True, slots=True)
class SocketsSeen:
    """The sockets in that directory: the kubelet's, this plugin's pattern, the original's."""

    kubelet: SocketState
    plugins: Mapping[Path, SocketState] = field(default_factory=dict)
    pids: tuple[int, ...] = ()
    original: Path = Path()
    original_state: SocketState = SocketState.MISSING
    silent: Mapping[Path, str] = field(default_factory=dict)
    """Those of live plugins that didn't answer a call, and what happened instead."""
    refused_by: str = ""
    """Who would refuse a connection to the kubelet's, and what to do."""

    def ours(self, *states: SocketState) -> list[Path]:
        """The sockets of this plugin's pattern in one of these states."""
        return [path for path, state in self.plugins.items() if state in states]

    @property
    def live(self) -> list[Path]:
        """Those behind which a plugin runs, as far as that can be seen."""
        return self.ours(SocketState.LISTENS, SocketState.FULL)


@dataclass(frozen=True, slots=True)
class RecordsSeen:
    """What the kubelet's PodResources told of our resource.

    `allocated` is by namespace, pod and container. `listed` is how many healthy units the kubelet
    knows, None where it doesn't tell. `error` is why nothing was told, `fix` what to do;
    `is_silent` if it took the connection and never answered.
    """

    allocated: Mapping[tuple[str, str, str], IdSet] = field(default_factory=dict)
    listed: int | None = None
    error: str = ""
    fix: str = ""
    is_silent: bool = False

    @property
    def allocated_units(self) -> int | None:
        """How many units pods hold, if that is known."""
        return None if self.error else sum(map(len, self.allocated.values()))


class RecordedAllocation(NamedTuple):
    """What the kubelet's checkpoint has of one container, which may have ended."""

    container: str
    ids: IdSet
    unit_bytes: int


class PageState(Enum):
    """Who answers where the plugin's telemetry should."""

    OFF = auto()
    OURS = auto()
    SOMEBODY_ELSE = auto()
    NOBODY = auto()
    NO_SUCH_ADDRESS = auto()
    SILENT = auto()


# Read from an answer of whoever listens: so the types are checked, and nothing is taken for them.
_TOLD = pydantic.ConfigDict(strict=True)


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=_TOLD)
class Trouble:
    """What the running plugin says is wrong with its TEE; `confirmed` once that is certain."""

    kind: str
    error: str
    fix: str
    confirmed: bool


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=_TOLD)
class LimitsTold:
    """Which containers the TEE limits, by the running plugin."""

    limited: int
    unset: int
    unrecorded: int
    groups: int
    groups_max: int
    last_reconcile: str | None
    reconcile_problem: str | None


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=_TOLD)
class SliceTold:
    """What the running plugin says of its ResourceSlice, in DRA mode.

    `problem` keeps claims from the node; `api_error` is what the API server last answered.
    """

    name: str
    published_bytes: int | None
    taints: Sequence[str]
    problem: str | None
    api_error: str | None


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=_TOLD)
class PluginStatus:
    """What the running plugin tells of itself on its page /status, as far as doctor uses it."""

    resource: str
    backend: str
    unit_bytes: int
    capacity: int
    allocatable: int
    allocated: int | None
    unhealthy_cause: str | None
    trouble: Trouble | None
    registered: bool
    not_registered_reason: str | None
    settings_problem: str | None
    settings_misfit: str | None
    settings_waiting: Mapping[str, str | None]
    limits: LimitsTold | None = None
    published: SliceTold | None = None

    @classmethod
    def parse(cls, page: Mapping[str, Any]) -> Self:
        """Take what is needed from the page.

        Raises:
            LookupError, TypeError, ValueError: it is no page of a tee-device-plugin.
        """
        count, cause, dra = page["units"], page["cause"], page.get("dra")
        return cls(
            resource=page["resource_name"],
            backend=page["backend"],
            unit_bytes=count["unit_bytes"],
            capacity=count["capacity"],
            allocatable=count["allocatable"],
            allocated=count["allocated"],
            unhealthy_cause=count["unhealthy_cause"],
            trouble=cause
            and Trouble(cause["kind"], cause["error"], cause["fix"], cause["confirmed"]),
            registered=page["registered"],
            not_registered_reason=page["not_registered_reason"],
            settings_problem=page["settings_problem"],
            settings_misfit=page["settings_misfit"],
            settings_waiting=page["settings_waiting"],
            # A plugin of an older version doesn't have it.
            limits=LimitsTold(**limits) if (limits := page.get("limits")) else None,
            published=dra
            and SliceTold(
                name=dra["slice"],
                published_bytes=dra["published_bytes"],
                taints=dra["taints"],
                problem=dra["problem"],
                api_error=dra["api_error"],
            ),
        )


@dataclass(frozen=True, slots=True)
class PageSeen:
    """What answered at `--listen`, and what it told if it is the plugin."""

    state: PageState
    status: PluginStatus | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """The plugin that runs, seen as a process: the flags it was started with, and what they mean.

    `settings` is None where its environment or its files can't be read from here.
    """

    pid: int
    flags: Sequence[str]
    settings: Settings | None


_OUR_BACKENDS = ("libteec", "simulated")


@dataclass(slots=True)
class Evidence:
    """All that was seen; filled part by part."""

    preloaded: str = ""
    loaded: Loaded | None = None
    settings_problem: str = ""
    socket_path_fits: bool = True
    backend_found: bool = False
    backend_simulated: bool = False
    backend_problem: str = ""
    directory: DirectorySeen | None = None
    recorded: Sequence[RecordedAllocation] | None = None
    sockets: SocketsSeen | None = None
    missing_paths: tuple[str, ...] = ()
    specification: Mismatch | None = None
    """Why the CDI specification on the node doesn't fit the settings."""
    records: RecordsSeen | None = None
    page: PageSeen | None = None
    process: RunningProcess | None = None
    answer: Answer | None = None
    bug: str = ""
    """What ended the looks before their time."""

    @property
    def settings(self) -> Settings:
        """The settings, which every check but the first few may count on."""
        if self.loaded is None:
            raise NotSeenError("the settings")
        return self.loaded.settings

    @property
    def backend_is_ours(self) -> bool:
        """Whether the backend is one of the plugin's own package, for TrustZone."""
        return self.settings.backend in _OUR_BACKENDS

    @property
    def in_dra_mode(self) -> bool:
        """Whether the plugin is to be a DRA driver."""
        return self.settings.serve == "dra"

    @property
    def reading(self) -> TeeMemory | None:
        """The TEE's memory, if it gave a reading."""
        return self.answer.reading if self.answer else None

    @property
    def reserve_bytes(self) -> int:
        """What is kept for the TEE OS: as the operator said, or else the backend's own."""
        if self.settings.reserve_bytes is not None:
            return self.settings.reserve_bytes
        return (self.answer.reserve_bytes if self.answer else None) or 0

    @property
    def status(self) -> PluginStatus | None:
        """What the plugin of our resource tells, if it runs and answers."""
        status = self.page.status if self.page else None
        return status if status and status.resource == self.settings.resource_name else None

    @property
    def unit_bytes(self) -> int:
        """One unit as it counts now: the running plugin's, which a new precision doesn't change."""
        return self.status.unit_bytes if self.status else self.settings.unit_bytes

    @property
    def allocated_units(self) -> int | None:
        """Units that pods hold, by the kubelet or else by the running plugin."""
        allocated = self.records.allocated_units if self.records else None
        return (
            allocated if allocated is not None else self.status.allocated if self.status else None
        )


class NotSeenError(Exception):
    """A check needs what wasn't come to."""


def seen(part: T | None, what: str) -> T:
    """Give a part of the evidence.

    Raises:
        NotSeenError: it wasn't come to.
    """
    if part is None:
        raise NotSeenError(what)
    return part
