"""The backend `libteec`: the real TEE, iTrustee's or OP-TEE's, asked through a helper process."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import anyio

from teeplugin_backends.base import (
    QUERY_SECONDS,
    BadReply,
    ContainerAccess,
    Device,
    Finding,
    Identity,
    Mount,
    TeeBackend,
    TeeError,
    TeeMemory,
    TimedOut,
)
from teeplugin_backends.libteec.answers import Reading, believable, reading_of, timed_out
from teeplugin_backends.libteec.client import ITRUSTEE, OPTEE
from teeplugin_backends.libteec.driver_info import MEMSTAT
from teeplugin_backends.libteec.files import problem_of_application
from teeplugin_backends.libteec.options import (
    AUTO,
    CONFIDENTIAL_NODE,
    LOG_NODE,
    TEECD,
    Options,
)
from teeplugin_backends.libteec.process import CantEndError, Ended, HelperProcesses
from teeplugin_backends.libteec.results import OF_THE_APPLICATION, result_of
from teeplugin_backends.libteec.teecd import Teecd, explain_login, watched
from teeplugin_backends.libteec.usage import applications
from teeplugin_backends.options import parse_options

ANSWER_SECONDS = QUERY_SECONDS - 0.5
"""Less than the plugin's deadline, which could not name the call that hangs.

Less as well than the 10.03 s for which iTrustee's library tries to connect to teecd: what it says
after that is known within 0.5 s by a look at teecd's socket (`Teecd`), and no other answer of it
takes so long.
"""

_RESERVE_BYTES: Final[Mapping[str, int]] = MappingProxyType(
    {
        # What the original plugin keeps for the TEE OS.
        ITRUSTEE: 600 * 1024**2,
        # OP-TEE's core, and the last part of the pool, which no TA was ever given.
        OPTEE: 2560 * 1024,
    }
)

_PARTS = ("tee-os", "driver")
"""Whose versions a helper tells, if it does."""

_ITRUSTEE_FIX = "load iTrustee's driver and start teecd"
_OPTEE_DEVICE_FIX = (
    "load the OP-TEE driver; where the device has another name, give it, e.g. "
    "--backend-option device=/dev/tee1"
)

_GROUPS = 63
"""Containers, each a group, that iTrustee's TEE OS can limit at a time; a group that wasn't cleaned
up counts as well."""

_USER_BYTES = 256
"""iTrustee's driver hashes the user's name padded to this."""


class LibTeec(TeeBackend):
    """A TEE behind libteec.

    Options: `flavour` (`itrustee`, `optee`, or `auto`: told by the library's symbols), `library`
    (its absolute path; else the loader's search finds it). For iTrustee: `uuid` and `ta-path` (the
    trusted application and its signed file, by default /data/<uuid>.sec), `identity` and `user`
    (the path and the user's name that it admits), `confidential-node` (false: containers aren't
    given /dev/tc_ns_cvm). For OP-TEE: `device` (what containers are given).
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._teecd = Teecd()
        self._versions: dict[str, str] = {}
        self._applications: Mapping[str, int] = {}
        self._more = True
        self._helpers = HelperProcesses(options.identity, self._teecd.look_while_waiting)
        self._flavour = None if options.flavour == AUTO else options.flavour

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make it from the options above."""
        return cls(parse_options(options, Options()))

    async def memory(self) -> TeeMemory:
        """Ask once, in a process of its own that is killed when it takes too long."""
        try:
            await self._teecd.look(self._flavour)
            reading = await self._ask()
        except TeeError:
            self._teecd.suspect = True
            # The TEE may be another one when it answers again.
            self._versions, self._applications = {}, {}
            raise
        self._teecd.suspect = False
        # From now on another vendor's library is a fault: containers have been told of this one.
        self._flavour = reading.vendor
        self._learn(reading.memory)
        return reading.memory

    def _learn(self, memory: TeeMemory) -> None:
        """Keep what the driver told beside the reading."""
        told = self._helpers.told
        self._versions |= {part: told[part] for part in _PARTS if part in told}
        self._applications = applications(told.get("memstat", ""), memory.total_bytes)

    async def _ask(self) -> Reading:
        helpers = self._helpers
        try:
            with anyio.move_on_after(ANSWER_SECONDS):
                return reading_of(await helpers.run(self._request()))
            if "free" in helpers.told:
                # It answered, and hangs in what is asked beside: not asked again.
                self._more = False
                return reading_of(Ended(0, helpers.told))
            error: TeeError = timed_out(helpers.told, helpers.step, ANSWER_SECONDS)
        except CantEndError as stuck:
            raise TimedOut(
                f"an earlier query's helper (process {stuck.pid}) can't be ended: it is "
                f"in {stuck.step or 'its start'} since",
                fix="find out what blocks the call in the TEE; when it returns, the helper ends "
                "and the plugin queries the TEE again",
            ) from None
        except OSError as failed:
            raise BadReply(
                f"the helper process can't be started: {failed}",
                fix="check the plugin's limits of processes and memory",
            ) from failed
        except TeeError as failed:
            error = failed
        raise self._explain(error)

    def _explain(self, error: TeeError) -> TeeError:
        """Add what the node's own files tell of the cause."""
        told, path = believable(self._helpers.told), Path(self._options.ta_file)
        asked = told.get("vendor") == ITRUSTEE and result_of(told) in OF_THE_APPLICATION
        if asked and (problem := problem_of_application(path)):
            return type(error)(f"{error}: {path} {problem}", fix=error.fix)
        return explain_login(error, told, self._helpers.complaint)

    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        """Tell of teecd's socket and of the drivers' device nodes."""
        # Not needed by the commands that ask once.
        from teeplugin_backends.libteec import node_watch  # noqa: PLC0415 - see above

        paths, held = watched(self._options, self._flavour, host_root)
        async for _ in node_watch.changes(paths, held):
            self._teecd.suspect = True
            yield

    def access(self) -> ContainerAccess:
        """What containers of this flavour need; /dev/teelog and /dev/tc_ns_cvm are iTrustee's."""
        if self._known_flavour() == OPTEE:
            device = self._options.device
            return ContainerAccess(
                devices=(Device(device, device, "rw"),), missing_fix=_OPTEE_DEVICE_FIX
            )
        nodes = (LOG_NODE, CONFIDENTIAL_NODE) if self._options.confidential_node else (LOG_NODE,)
        return ContainerAccess(
            mounts=(Mount(TEECD, TEECD, read_only=True),),
            devices=tuple(Device(node, node, "rw") for node in nodes),
            missing_fix=_ITRUSTEE_FIX,
        )

    @property
    def default_reserve_bytes(self) -> int:
        """The flavour's own."""
        return _RESERVE_BYTES[self._known_flavour()]

    @property
    def limited_containers(self) -> int:
        """ITrustee's groups; OP-TEE accounts for no client."""
        return 0 if self._known_flavour() == OPTEE else _GROUPS

    @property
    def flavour(self) -> str:
        """The vendor whose library answered."""
        return self._known_flavour()

    def identity(self) -> Identity | None:
        """Who the helper is to iTrustee; OP-TEE asks nobody who they are."""
        if (self._flavour or self._flavour_of_library()) == OPTEE:
            return None
        path, user = self._options.identity, self._options.user
        name = user.encode().ljust(_USER_BYTES, b"\0")
        return Identity(path, user, sha256(path.encode() + name).hexdigest())

    def _flavour_of_library(self) -> str | None:
        """OP-TEE, if the library that would be loaded has its symbols."""
        from teeplugin_backends.libteec import abi, files  # noqa: PLC0415 - not for the daemon's start

        library = files.find_library(self._options.libraries(AUTO))
        return OPTEE if files.has_symbol(library, abi.OPTEE_SYMBOLS) else None

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        """Library, driver, daemon, identity and trusted application, in this order."""
        from teeplugin_backends.libteec.checks import Way  # noqa: PLC0415 - doctor's only

        helpers = self._helpers
        way = Way(self._options, helpers.told, host_root, said=helpers.complaint)
        return tuple(way.findings())

    def versions(self) -> Mapping[str, str]:
        """Those of iTrustee's TEE OS and driver, where /dev/teelog can be opened."""
        return self._versions

    def applications(self) -> Mapping[str, int]:
        """By iTrustee's driver, where that was built to tell."""
        return self._applications

    def counters(self) -> Mapping[str, int]:
        """The helpers that were started and that were killed, and queries that one kept waiting."""
        return self._helpers.counters

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the helper of a query that is under way; one that can't end is left behind."""
        await self._helpers.close()

    def _request(self) -> Mapping[str, str]:
        options = self._options
        return {
            "libraries": "\n".join(options.libraries(self._flavour or AUTO)),
            "vendor": self._flavour or "",
            "uuid": options.uuid,
            "ta_path": options.ta_file,
            "identity": options.identity,
            "user": options.user,
            "log_node": LOG_NODE if self._more and not self._versions else "",
            "memstat": MEMSTAT if self._more else "",
        }

    def _known_flavour(self) -> str:
        if self._flavour is None:
            raise RuntimeError("the flavour is not known before the first reading")
        return self._flavour
