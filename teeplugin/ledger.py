"""Keeps the books of who holds which units, read from the kubelet's PodResources; run by health.

Ids of plain init containers never stand there: they count as held for a minute after Allocate.
A kubelet without PodResources v1 (before 1.20) leaves the books unknown, and shortage unshown.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import anyio.to_thread
from grpclib import GRPCError
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import ProtocolError, StreamTerminatedError

from teeplugin.api.podresources import v1
from teeplugin.books import Books, Holder
from teeplugin.inventory import IdSet
from teeplugin.log import get_logger
from teeplugin.tallies import Reads
from teeplugin.units import MAX_UNITS
from teeplugin.watch import FileIdentity, file_identity

CALL_SECONDS = 2.0
"""The kubelet answers from its memory in milliseconds: after this it is taken for hung."""

LONG_ANSWER_BYTES = 8192
"""Some 300 ids, parsed in 5 ms: longer answers are parsed in a thread, beside Allocate."""

PATIENCE = 4
"""So many failures in a row are told of: they are two queries' looks before and after."""

_LONGEST_ID = len(str(MAX_UNITS - 1))

_log = get_logger()


class _UnparsedCodec(ProtoCodec):
    """Leaves the answer as bytes: it may name thousands of ids, which takes long to parse."""

    def decode(self, data: bytes, message_type: Any) -> Any:
        del message_type
        return data


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
        self._told: dict[tuple[str, str, str], IdSet] | None = None
        self._failures = 0
        self._promised = anyio.Event()

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
        promised, self._promised = self._promised, anyio.Event()
        promised.set()

    @property
    def waits(self) -> bool:
        """Whether ids were handed out that the kubelet's books, as last read, don't show."""
        return self._books.waits(monotonic())

    async def next_promise(self) -> None:
        """Wait until Allocate hands out ids."""
        await self._promised.wait()

    async def refresh(self) -> bool:
        """Read the kubelet's books; False if that can't be done now.

        Not for use inside Allocate: the kubelet may hold its books back until that was answered.
        """
        identity = file_identity(self._socket)
        try:
            with anyio.fail_after(CALL_SECONDS):
                data = await self._list()
                if len(data) > LONG_ANSWER_BYTES:
                    holders = await anyio.to_thread.run_sync(_parse, data, self._resource_name)
                else:
                    holders = _parse(data, self._resource_name)
        except (OSError, TimeoutError, GRPCError, StreamTerminatedError, ProtocolError) as error:
            self._tell(error)
            return False
        restarted = self._identity not in (None, identity)
        self._books = self._books.read(holders, monotonic(), restarted=restarted)
        self._identity = identity
        self._tell(None)
        self._tell_holders(holders)
        return True

    async def _list(self) -> bytes:
        channel = Channel(path=os.fspath(self._socket), codec=_UnparsedCodec())
        try:
            list_pods = UnaryUnaryMethod[v1.ListPodResourcesRequest, bytes](
                channel, "/v1.PodResourcesLister/List", v1.ListPodResourcesRequest, bytes
            )
            return await list_pods(v1.ListPodResourcesRequest())
        except AttributeError as error:
            # What grpclib 0.4 raises where the connection was closed as soon as it was made.
            raise ConnectionResetError("it closed the connection at once") from error
        finally:
            channel.close()

    def _tell(self, error: Exception | None) -> None:
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
                error=f"{type(error).__name__}: {error}",
                effect="shortage is not shown until it can be read",
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
        entered = self._books.entered
        kept = (self.held or IdSet()) - entered
        for key in found.keys() - self._told.keys():
            _log.info("units_taken", **_words(key), units=len(found[key]))
        for key in self._told.keys() - found.keys():
            if self._told[key] & kept:
                found[key] = self._told[key]
            else:
                _log.info("units_given_back", **_words(key), units=len(self._told[key]))
        self._told = found


def _words(key: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("namespace", "pod", "container"), key, strict=True))


def _parse(data: bytes, resource_name: str) -> list[Holder]:
    """Find the containers that hold units.

    Raises:
        ProtocolError: the bytes are no answer of PodResources.
    """
    try:
        answer = v1.ListPodResourcesResponse.parse(data)
    except Exception as error:
        raise ProtocolError(f"{len(data)} bytes are no PodResources answer") from error
    holders = []
    for pod in answer.pod_resources:
        for container in pod.containers:
            ids = IdSet.of(_ids_of(container, resource_name))
            if ids:
                holders.append(Holder(pod.namespace, pod.name, container.name, ids))
    return holders


def _ids_of(container: v1.ContainerResources, resource_name: str) -> Iterator[int]:
    """Our ids; one of another form is another plugin's, of this name before us, and no unit."""
    for devices in container.devices:
        if devices.resource_name == resource_name:
            for text in devices.device_ids:
                is_number = len(text) <= _LONGEST_ID and text.isascii() and text.isdigit()
                if is_number and str(int(text)) == text and int(text) < MAX_UNITS:
                    yield int(text)
