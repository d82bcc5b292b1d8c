"""The contract between the plugin and a TEE backend: types, errors, deadlines and `TeeBackend`.

Nothing of this project is imported here, so that a backend can live in a package of its own and
be found by its entry point in the group `teeplugin.backends`. `teeplugin_backends.conformance`
checks every promise made here.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, NamedTuple, Self

QUERY_SECONDS: Final = 10.0
"""How long `memory` may take; the plugin then cancels it.

Longer than any query took that was ever answered (0.8 s, on an emulated board). The kubelet needs
no answer from the TEE meanwhile.
"""

LOOK_SECONDS: Final = 5.0
"""How long `__aenter__` may take, and how long `checks` may: they look at files, not at the TEE.

Long enough for a slow disk on a busy node, short enough for a person who waits for doctor.
"""

CLOSE_SECONDS: Final = 0.5
"""How long `__aexit__` may take, and a cancelled `memory` until it ends.

The plugin has to be gone 2 s after SIGTERM, with its streams ended and its socket removed.
"""


@dataclass(frozen=True, slots=True)
class TeeMemory:
    """One reading of the TEE's secure memory, in bytes, raw: no reserve is taken off.

    `free_bytes` is what a trusted application could still get. A reading with `total_bytes` not
    positive, or with `free_bytes` outside 0 … `total_bytes`, is refused with `ValueError`: no TEE
    answers so, and a list made from it would be a lie.
    """

    total_bytes: int
    free_bytes: int

    def __post_init__(self) -> None:
        if self.total_bytes <= 0:
            raise ValueError(f"total_bytes={self.total_bytes}: must be more than 0")
        if not 0 <= self.free_bytes <= self.total_bytes:
            raise ValueError(
                f"free_bytes={self.free_bytes}: must be in 0 … total_bytes={self.total_bytes}"
            )


class Mount(NamedTuple):
    """A directory or file of the node, seen at `container_path` in the container."""

    host_path: str
    container_path: str
    read_only: bool = True


class Device(NamedTuple):
    """A device node of the node; `permissions` is any of r, w and m."""

    host_path: str
    container_path: str
    permissions: str = "rw"


@dataclass(frozen=True, slots=True)
class ContainerAccess:
    """What a container needs in order to reach the TEE; the same for every container.

    Every `host_path` must exist on the node: the plugin looks before it lists anything, because a
    container that is promised a missing device node can't be created. `missing_fix` is what the
    operator is to do where one doesn't; left out, it is a text that fits any TEE.
    """

    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    missing_fix: str = field(default="", compare=False)

    def host_paths(self) -> tuple[str, ...]:
        """The node's paths that have to exist, mounts first."""
        mounts = (mount.host_path for mount in self.mounts)
        return (*mounts, *(device.host_path for device in self.devices))


class Identity(NamedTuple):
    """Who the plugin is to the TEE: what a trusted application's allowlist has to admit.

    `sha256` is what the TEE is handed of it, in hexadecimal.
    """

    path: str
    user: str
    sha256: str


class Result(StrEnum):
    """How a link of the way from the plugin to the TEE was found."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found at one link, for the command doctor.

    `check` is the link's stable name, `text` what was found, and `fix` what to do. A warning or a
    failure without a fix helps nobody, and is refused with `ValueError`. The lines of `fix` after
    the first are commands to copy, which doctor never cuts.
    """

    check: str
    result: Result
    text: str
    fix: str = ""

    def __post_init__(self) -> None:
        if self.result in (Result.WARNING, Result.FAILED) and not self.fix:
            raise ValueError(f"check={self.check} is {self.result}: must have a fix")

    @classmethod
    def ok(cls, check: str, text: str) -> Self:
        """The link holds."""
        return cls(check, Result.OK, text)

    @classmethod
    def warning(cls, check: str, text: str, fix: str) -> Self:
        """The link holds, but not as it should."""
        return cls(check, Result.WARNING, text, fix)

    @classmethod
    def failed(cls, check: str, text: str, fix: str) -> Self:
        """The link is broken."""
        return cls(check, Result.FAILED, text, fix)

    @classmethod
    def not_applicable(cls, check: str, text: str, fix: str = "") -> Self:
        """There is no such link here, or it can't be looked at; `fix` may say who can."""
        return cls(check, Result.NOT_APPLICABLE, text, fix)


class TeeError(Exception):
    """The TEE did not give a reading: what happened, and `fix`, what the operator can do.

    `kind` is the stable name of the fault in logs and metrics. What a fault means for the pods is
    not decided here but in the plugin's decision.
    """

    kind: ClassVar[str] = "fault"
    default_fix: ClassVar[str] = "see the plugin's log"

    def __init__(self, message: str, *, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix or self.default_fix


class Unreachable(TeeError):
    """Nothing answers where the TEE should be: no device, no daemon, no TEE OS."""

    kind = "unreachable"
    default_fix = "check that the TEE is there, and that its driver and daemon run on this node"


class Refused(TeeError):
    """The TEE answers, but won't serve us: identity, permission or signature."""

    kind = "refused"
    default_fix = "check what the TEE asks of its callers: the plugin's user, permissions, identity"


class Busy(TeeError):
    """The TEE has no session for us at the moment."""

    kind = "busy"
    default_fix = "usually none: the plugin retries; otherwise find clients that hold sessions"


class TimedOut(TeeError):
    """The query was not answered before its deadline."""

    kind = "timed-out"
    default_fix = "look for calls stuck in the TEE, its driver or its daemon"


class BadReply(TeeError):
    """An answer came, but it can't be true or can't be read."""

    kind = "bad-reply"
    default_fix = "check that the TEE's software has a version that the plugin's backend knows"


class Exhausted(TeeError):
    """The TEE has no memory left, not even for our query."""

    kind = "exhausted"
    default_fix = "free secure memory: end what uses it and is not needed"


TEE_ERRORS: Final = (Unreachable, Refused, Busy, TimedOut, BadReply, Exhausted)
"""Every kind there is."""


class OptionError(ValueError):
    """A backend option is unknown or has an unusable value; the message names value, rule, fix."""


class TeeBackend(ABC):
    """A TEE, as an async context manager that is entered once and asked by one task at a time.

    A subclass is constructed by `from_options`, opens what it needs in `__aenter__` (which must
    not ask the TEE: a node whose TEE is down has to start as well) and closes it in `__aexit__`.
    """

    simulated: ClassVar[bool] = False
    """Whether no real memory backs the readings; the plugin and doctor then warn about it."""

    @classmethod
    @abstractmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make the backend from the operator's `KEY=VALUE` options.

        Raises:
            OptionError: an option is unknown, or its value breaks a rule.
        """

    @abstractmethod
    async def memory(self) -> TeeMemory:
        """Ask the TEE for its memory; never two calls at a time.

        The plugin cancels the call after `QUERY_SECONDS`. It must then end within `CLOSE_SECONDS`,
        by letting the cancellation through.

        Raises:
            TeeError: there is no reading, and its kind says why. Anything else is a bug.
        """

    @abstractmethod
    def access(self) -> ContainerAccess:
        """What containers are handed, answered from memory.

        Only asked once `memory` has given a reading, and the same from then on.
        """

    @property
    def default_reserve_bytes(self) -> int:
        """What the TEE OS keeps of the total for itself, where the operator names no reserve.

        Only asked once `memory` has given a reading, and the same from then on.
        """
        return 0

    @property
    def limited_containers(self) -> int:
        """How many containers the TEE can hold to a limit at a time; 0 where it can't limit any.

        Not 0 means: the hook `tee-limit` knows how. Only asked once `memory` has given a reading,
        and the same from then on.
        """
        return 0

    @property
    def flavour(self) -> str:
        """A short name of the TEE's kind, by which DRA claims may select it; empty for none.

        At most 64 characters. Only asked once `memory` has given a reading.
        """
        return ""

    def identity(self) -> Identity | None:
        """Who the plugin is to the TEE, or None where the TEE doesn't ask; asks no TEE."""
        return None

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        """Return what is found on the way to the TEE, link by link, within `LOOK_SECONDS`.

        Called once, after one call of `memory`, whatever came of that; it must not ask the TEE
        again. The node's own paths are seen below `host_root`.
        """
        del host_root
        return ()

    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        """Yield each time something changes on the node that makes a new reading worthwhile.

        The plugin then reads at once, but limits the rate, beside its interval. Iterated from one
        task from the start on, beside `memory` and also before `__aenter__`, and closed at the
        end: whatever it opens, it closes again. It must not ask the TEE. Changes between two
        iterations must not be lost; several may be one. It ends where there is nothing to watch.

        Raises:
            OSError: the node can't be watched; the plugin logs that once and relies on its
                interval.
        """
        del host_root
        never: tuple[None, ...] = ()
        for change in never:
            yield change

    def versions(self) -> Mapping[str, str]:
        """Name the versions of what the backend goes through, by part, as far as they are known.

        Asks no TEE. For metrics, the status and doctor.
        """
        return {}

    def applications(self) -> Mapping[str, int]:
        """Give the bytes that each trusted application used at the last reading, by its name.

        Empty where that isn't known. Asks no TEE; for metrics.
        """
        return {}

    def counters(self) -> Mapping[str, int]:
        """What the backend counts beside its answers, by event, for the plugin's metrics."""
        return {}

    async def __aenter__(self) -> Self:
        """Open what the backend needs within `LOOK_SECONDS`, without asking the TEE."""
        return self

    async def __aexit__(  # noqa: B027 - a backend that holds nothing open has nothing to add
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it again within `CLOSE_SECONDS`, even where a query hangs."""
