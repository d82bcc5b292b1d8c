"""Asks the kubelet's PodResources, and keeps the allocation records of who holds which units.

Ids of plain init containers never stand there: they count as allocated for a minute after Allocate.
A kubelet without PodResources v1 (before 1.20) leaves the allocation records unknown, and shortage
unshown.
"""

import errno
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import monotonic

import anyio.lowlevel
from grpclib import Status

from teeplugin.kubelet.directory_watch import FileIdentity, file_identity
from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut, NoAnswer, call
from teeplugin.kubelet.permission import REFUSED
from teeplugin.logs.setup import get_logger
from teeplugin.policy.allocation_records import AllocationRecords, Holder
from teeplugin.policy.device_list import IdSet
from teeplugin.primitives.counters import ReadStats
from teeplugin.primitives.signal import Signal

CALL_SECONDS = 2.0
"""The kubelet answers from its memory in milliseconds: after this it is taken for hung."""

YIELD_SECONDS = 0.002
"""How long an answer is parsed without letting an Allocate that waits have its turn."""

UNREADABLE_SECONDS = 15.0
"""How long reading must fail before it is logged: longer than a kubelet's restart takes."""

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})

_ROOT_DIR = (
    "mount <root-dir>/pod-resources here, by default /var/lib/kubelet/pod-resources; without a "
    "container give it as --pod-resources-dir"
)

_WITH_ROOT_DIR = f"if it runs with a --root-dir, {_ROOT_DIR}"

_SEE_WHY = "see its log: journalctl -u kubelet"

_log = get_logger()


_LIST = "/v1.PodResourcesLister/List"
_GET_ALLOCATABLE = "/v1.PodResourcesLister/GetAllocatableResources"


async def list_pods(socket: Path) -> bytes:
    """Ask which pods have which devices; the answer is read by `holders_in`.

    Raises:
        CallError: there was no answer.
    """
    return await call(socket, _LIST, b"", CALL_SECONDS)


async def get_allocatable(socket: Path) -> bytes:
    """Ask which devices are healthy; the answer is read by `allocatable_units`.

    Raises:
        CallError: there was no answer; kubelets before 1.23 refuse.
    """
    return await call(socket, _GET_ALLOCATABLE, b"", CALL_SECONDS)


def unreadable_fix(socket: Path, error: CallError) -> str:
    """Say what to do when the allocation records can't be read, by what hinders it."""
    match error:
        case CallRefused(status=Status.UNIMPLEMENTED):
            fix = "use Kubernetes 1.20 or newer, whose kubelet serves PodResources v1"
        case CallRefused(status=Status.RESOURCE_EXHAUSTED):
            fix = "find the program on the node that queries PodResources too often (rate limit)"
        case CallTimedOut():
            fix = f"{_SEE_WHY}; restart it if it hangs"
        case NoAnswer(errno=errno.ECONNREFUSED):
            # Also what a kubelet leaves behind that has another root directory now.
            fix = f"start the kubelet: no process listens there; {_WITH_ROOT_DIR}"
        case NoAnswer(errno=number) if number in REFUSED:
            fix = "do what the error says at its end"
        case NoAnswer(errno=number) if number in _ABSENT and socket.parent.is_dir():
            fix = f"start the kubelet, which creates it; {_WITH_ROOT_DIR}"
        case NoAnswer(errno=number) if number in _ABSENT:
            fix = f"start the kubelet, which creates it; in a container {_ROOT_DIR}"
        case _:
            fix = f"find the process that listens there: it must be the kubelet; {_SEE_WHY}"
    return fix


class PodResourcesClient:
    """The records of one resource; `socket` is where the kubelet serves PodResources.

    `read` finds the containers with units in an answer, as `holders_in` does.

    `changed` is set by each Allocate, and when other ids count as allocated than before.

    For telemetry: the `reads` of it, counted.
    """

    def __init__(self, *, socket: Path, read: Callable[[bytes], Iterator[Holder | None]]) -> None:
        self._socket = socket
        self._read = read
        self._records = AllocationRecords()
        self.reads = ReadStats()
        self._identity: FileIdentity | None = None
        self._answer: bytes | None = None
        self._parsed: tuple[Holder, ...] = ()
        self._logged_holders: dict[tuple[str, str, str], IdSet] | None = None
        self._failing_since: float | None = None
        self._logged_unreadable = False
        self.changed = Signal()
        self._lock = anyio.Lock()
        self._noted: IdSet | None = None
        self._in_use = IdSet()

    @property
    def allocated(self) -> IdSet | None:
        """The ids that count as allocated; None if the kubelet never reported any."""
        return self._records.allocated(monotonic())

    @property
    def holders(self) -> tuple[Holder, ...] | None:
        """The containers with units, as the kubelet last reported them; None if it never did."""
        return self._records.holders

    def add_allocated(self, ids: Iterable[int]) -> None:
        """Count ids as allocated from now on, because Allocate hands them out."""
        self._records = self._records.with_allocated(IdSet.of(ids), monotonic())
        self._note_allocated()
        self.changed.set()

    def _note_allocated(self) -> bool:
        """Collect the ids that count as allocated now; tell whether they are others than before.

        Also where only time has passed: an id that the kubelet never reported counts for a minute.
        """
        before, self._noted = self._noted, self.allocated
        self._in_use |= self._noted or IdSet()
        return self._noted != before

    def collect_in_use(self) -> None:
        """Begin to collect `in_use` anew."""
        self._in_use = self.allocated or IdSet()

    @property
    def in_use(self) -> IdSet | None:
        """All ids that counted as allocated at some moment since `collect_in_use`.

        None if the kubelet never reported any.
        """
        return None if self._records.holders is None else self._in_use

    @property
    def has_unrecorded(self) -> bool:
        """Whether ids were allocated that the kubelet didn't report when it was last asked."""
        return self._records.has_unrecorded(monotonic())

    async def refresh(self) -> bool:
        """Read the kubelet's allocation records; False if that can't be done now.

        Not for use inside Allocate: the kubelet may hold its records back until that was answered.
        """
        # One at a time: an older answer must not take the place of a newer one.
        async with self._lock:
            identity = file_identity(self._socket)
            try:
                holders = await self._list()
            except CallError as error:
                self._log_readability(error)
                return False
            restarted = self._identity not in (None, identity)
            self._records = self._records.read(holders, monotonic(), restarted=restarted)
            self._identity = identity
        if self._note_allocated():
            self.changed.set()
        self._log_readability(None)
        self._log_holders(holders)
        return True

    async def _list(self) -> tuple[Holder, ...]:
        return await self._holders(await list_pods(self._socket))

    async def _holders(self, data: bytes) -> tuple[Holder, ...]:
        """Parse the answer, unless it is the last one, letting others run every few milliseconds.

        Raises:
            NoAnswer: the bytes are no answer of PodResources.
        """
        if data == self._answer:
            return self._parsed
        holders, since = [], monotonic()
        try:
            for holder in self._read(data):
                if holder is not None:
                    holders.append(holder)
                elif monotonic() - since > YIELD_SECONDS:
                    await anyio.lowlevel.checkpoint()
                    since = monotonic()
        except ValueError as error:
            raise NoAnswer(f"{len(data)} bytes are not a PodResources answer: {error}") from error
        self._answer, self._parsed = data, tuple(holders)
        return self._parsed

    def _log_readability(self, error: CallError | None) -> None:
        """Log when the allocation records can't be read, and when they can again, once each.

        Not at the first failures: the registration logs that a kubelet restarts.
        """
        self.reads.count(ok=error is None)
        if error is None:
            if self._logged_unreadable:
                _log.info("pod_resources_readable", socket=str(self._socket))
            self._failing_since, self._logged_unreadable = None, False
            return
        if self._failing_since is None:
            self._failing_since = monotonic()
        since_seconds = monotonic() - self._failing_since
        if since_seconds >= UNREADABLE_SECONDS and not self._logged_unreadable:
            self._logged_unreadable = True
            _log.warning(
                "pod_resources_unreadable",
                socket=str(self._socket),
                error=str(error),
                effect="no shortage is shown until the allocation records can be read"
                if self._records.holders is None
                else "the last records stay in force, and the shortage stays as it is",
                fix=unreadable_fix(self._socket, error),
            )

    def _log_holders(self, holders: Iterable[Holder]) -> None:
        """Log each container that is new in the allocation records, and each that has gone, once.

        Gone is one whose ids count as allocated no more, or are another's: a kubelet that restarts
        forgets all of them for a while.
        """
        found = {(each.namespace, each.pod, each.container): each.ids for each in holders}
        if self._logged_holders is None:
            if found:
                units = sum(map(len, found.values()))
                _log.info("units_allocated_at_start", containers=len(found), units=units)
            self._logged_holders = found
            return
        for key in found.keys() - self._logged_holders.keys():
            _log.info("units_allocated", **_words(key), units=len(found[key]))
        gone = self._logged_holders.keys() - found.keys()
        waiting = (self.allocated or IdSet()) - self._records.recorded if gone else IdSet()
        for key in gone:
            if self._logged_holders[key] & waiting:
                found[key] = self._logged_holders[key]
            else:
                _log.info("units_released", **_words(key), units=len(self._logged_holders[key]))
        self._logged_holders = found


def _words(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("namespace", "pod", "container"), key, strict=True))
