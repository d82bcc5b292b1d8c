"""Asks the kubelet's PodResources, and keeps the books of who holds which units.

Ids of plain init containers never stand there: they count as held for a minute after Allocate.
A kubelet without PodResources v1 (before 1.20) leaves the books unknown, and shortage unshown.
"""

from collections.abc import Iterable
from pathlib import Path
from time import monotonic

import anyio.lowlevel

from teeplugin.kubelet.directory_watch import FileIdentity, file_identity
from teeplugin.kubelet.grpc_client import CallError, NoAnswer, call
from teeplugin.kubelet.pod_resources_answer import holders_in
from teeplugin.logs.setup import get_logger
from teeplugin.policy.device_list import IdSet
from teeplugin.policy.holdings import Books, Holder
from teeplugin.primitives.counters import Reads
from teeplugin.primitives.signal import Signal

CALL_SECONDS = 2.0
"""The kubelet answers from its memory in milliseconds: after this it is taken for hung."""

BREATH_SECONDS = 0.002
"""How long an answer is parsed without letting an Allocate that waits have its turn."""

PATIENCE = 4
"""So many failures in a row are told of: they are two queries' looks before and after."""

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


class Ledger:
    """The books of one resource; `socket` is where the kubelet serves PodResources.

    For telemetry: the `reads` of it, counted.
    """

    def __init__(self, *, socket: Path, resource_name: str) -> None:
        self._socket = socket
        self._resource_name = resource_name
        self._books = Books()
        self.reads = Reads()
        self._identity: FileIdentity | None = None
        self._answer: bytes | None = None
        self._parsed: tuple[Holder, ...] = ()
        self._told: dict[tuple[str, str, str], IdSet] | None = None
        self._failures = 0
        self._promised = Signal()

    @property
    def held(self) -> IdSet | None:
        """The ids that count as held by what is known; None if the books were never read."""
        return self._books.held(monotonic())

    @property
    def holders(self) -> tuple[Holder, ...] | None:
        """The containers in the kubelet's books, as last read; None if they were never read."""
        return self._books.holders

    def promise(self, ids: Iterable[int]) -> None:
        """Count ids as held from now on, because Allocate hands them out."""
        self._books = self._books.promised(IdSet.of(ids), monotonic())
        self._promised.set()

    @property
    def waits(self) -> bool:
        """Whether ids were handed out that the kubelet's books, as last read, don't show."""
        return self._books.waits(monotonic())

    async def next_promise(self) -> None:
        """Wait until Allocate hands out ids."""
        await self._promised.after(self._promised.count)

    async def refresh(self) -> bool:
        """Read the kubelet's books; False if that can't be done now.

        Not for use inside Allocate: the kubelet may hold its books back until that was answered.
        """
        identity = file_identity(self._socket)
        try:
            holders = await self._holders(await list_pods(self._socket))
        except CallError as error:
            self._tell(error)
            return False
        restarted = self._identity not in (None, identity)
        self._books = self._books.read(holders, monotonic(), restarted=restarted)
        self._identity = identity
        self._tell(None)
        self._tell_holders(holders)
        return True

    async def _holders(self, data: bytes) -> tuple[Holder, ...]:
        """Parse the answer, unless it is the last one, letting others run every few milliseconds.

        Raises:
            NoAnswer: the bytes are no answer of PodResources.
        """
        if data == self._answer:
            return self._parsed
        holders, since = [], monotonic()
        try:
            for holder in holders_in(data, self._resource_name):
                if holder is not None:
                    holders.append(holder)
                elif monotonic() - since > BREATH_SECONDS:
                    await anyio.lowlevel.checkpoint()
                    since = monotonic()
        except ValueError as error:
            raise NoAnswer(f"{len(data)} bytes are no PodResources answer: {error}") from error
        self._answer, self._parsed = data, tuple(holders)
        return self._parsed

    def _tell(self, error: CallError | None) -> None:
        """Log when the books can't be read, and when they can again, once each.

        Not at the first failures: a kubelet that restarts is told of by the registration.
        """
        self.reads.count(ok=error is None)
        told = self._failures >= PATIENCE
        self._failures = 0 if error is None else self._failures + 1
        if error is None:
            if told:
                _log.info("ledger_readable", socket=str(self._socket))
        elif not told and self._failures >= PATIENCE:
            _log.warning(
                "ledger_unreadable",
                socket=str(self._socket),
                error=str(error),
                effect="shortage is not shown until it can be read"
                if self._books.holders is None
                else "what was read last goes on counting, and a shortage stays as it is shown",
                cure="mount the kubelet's pod-resources directory; it needs Kubernetes 1.20",
            )

    def _tell_holders(self, holders: Iterable[Holder]) -> None:
        """Log each container that is new in the books, and each that has gone, once.

        Gone is one whose ids count as held no more, or are another's: a kubelet that restarts
        forgets all of them for a while.
        """
        found = {(each.namespace, each.pod, each.container): each.ids for each in holders}
        if self._told is None:
            if found:
                units = sum(map(len, found.values()))
                _log.info("units_held_at_start", containers=len(found), units=units)
            self._told = found
            return
        for key in found.keys() - self._told.keys():
            _log.info("units_taken", **_words(key), units=len(found[key]))
        gone = self._told.keys() - found.keys()
        waiting = (self.held or IdSet()) - self._books.entered if gone else IdSet()
        for key in gone:
            if self._told[key] & waiting:
                found[key] = self._told[key]
            else:
                _log.info("units_given_back", **_words(key), units=len(self._told[key]))
        self._told = found


def _words(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("namespace", "pod", "container"), key, strict=True))
