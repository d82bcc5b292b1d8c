"""The task that asks the TEE, lets the judgement decide, and publishes the list; run by plugin.

One query is outstanding at a time, each has a deadline, and every change is logged once with its
cause, recovery as well as failure.
"""

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import anyio
import anyio.lowlevel

from teeplugin.config.settings import ConfigError
from teeplugin.kubelet.pod_resources_client import Ledger
from teeplugin.logs.setup import get_logger
from teeplugin.policy import units
from teeplugin.policy.decide import (
    CONFIRM_SECONDS,
    MISSING_ON_NODE,
    Holdings,
    Judgement,
    Terms,
    check_terms,
    judge,
    relist,
)
from teeplugin.policy.device_list import FrameEncoder, Listing
from teeplugin.primitives.counters import Queries
from teeplugin.primitives.latest import Latest
from teeplugin.primitives.signal import Signal
from teeplugin.tee.guard import guarded, read_memory
from teeplugin.tee.report import Report
from teeplugin_backends.base import (
    QUERY_SECONDS,
    Exhausted,
    TeeBackend,
    TeeError,
    TeeMemory,
)

FIRST_BOOKS_SECONDS = 0.2
"""After so long the kubelet's books usually show what Allocate handed out. Read late, they might
miss a pod that goes at once, whose units would count as held for the promise's minute."""

BOOKS_SECONDS = 2.0
"""How often they are read from then on until they show it."""

_log = get_logger()


class Observation(NamedTuple):
    """A reading, and how many units pods held while it was taken."""

    memory: TeeMemory
    held_units: int

    def unheld_use_bytes(self, unit_bytes: int) -> int:
        """What others than the pods with units used at the least, the TEE OS among them."""
        used_bytes = self.memory.total_bytes - self.memory.free_bytes
        return units.unheld_use_bytes(used_bytes, self.held_units, unit_bytes)


class Health:
    """Keeps `listings` true to what `backend` answers.

    `answered` is set at the first answer, if the terms fit it. What containers are handed is looked
    for under `host_root`, where the node's paths are seen.

    For telemetry: the `judgement` in force and its `terms`, the `queries` counted; the last reading
    `observed` with the ledger known, and the least that was used in such readings while pods held
    nothing; how often the list was another one.
    """

    def __init__(
        self,
        *,
        backend: TeeBackend,
        terms: Terms,
        ledger: Ledger,
        listings: Latest[Listing | None],
        host_root: Path,
        query_seconds: float = QUERY_SECONDS,
    ) -> None:
        self._backend = backend
        self.terms = terms
        self._ledger = ledger
        self.judgement = Judgement()
        self.queries = Queries()
        self.observed: Observation | None = None
        self.unheld_use_lowest_bytes: int | None = None
        self.list_changes = 0
        self._listings = listings
        self._host_root = host_root
        self._query_seconds = query_seconds
        self._encoder = FrameEncoder()
        self._asked = Signal()
        self._report = Report()
        self.answered = anyio.Event()
        self._counted_at = -math.inf

    @property
    def external_use_min_bytes(self) -> int | None:
        """What others than pods with units used at the least; None while it isn't known."""
        if self.observed is None:
            return None
        unheld_bytes = self.observed.unheld_use_bytes(self.terms.unit_bytes)
        return units.external_use_min_bytes(unheld_bytes, self.terms.reserve_bytes or 0)

    def ask_now(self) -> None:
        """Ask the TEE without waiting for the next time; at once after a query under way."""
        self._asked.set()

    async def run(self) -> None:
        """Ask, judge, publish and wait, until cancelled.

        Raises:
            ConfigError: the first reading shows that the precision or the reserve doesn't fit.
        """
        while True:
            seen = self._asked.count
            await self._query()
            if self.judgement.suspicious_answers:
                # Not to be hurried: what is asked about again at once proves nothing.
                await anyio.sleep(CONFIRM_SECONDS)
                continue
            with anyio.move_on_after(self.judgement.ask_again_seconds):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._follow_promises)
                    await self._asked.after(seen)
                    tasks.cancel_scope.cancel()

    async def _query(self) -> None:
        """Ask, with a look at the ledger before and after, and publish what follows from it."""
        known = await self._ledger.refresh()
        held = self._ledger.held
        answer, missing = await self._ask()
        self.queries.answered(answer.kind if isinstance(answer, TeeError) else None)
        if isinstance(answer, Exhausted) and self.judgement.memory is not None:
            missing = self._missing()
        known = await self._ledger.refresh() and known
        steady = known and held == self._ledger.held
        if steady and held is not None and isinstance(answer, TeeMemory):
            self._observe(Observation(answer, len(held)))
        first = self.judgement.shortage.seen_once is None
        spaced = first or monotonic() - self._counted_at >= CONFIRM_SECONDS
        counts = steady and spaced
        if counts:
            self._counted_at = monotonic()
        previous, holdings = self.judgement, Holdings(self._ledger.held, counts)
        self.judgement = judge(answer, missing, previous, self.terms, holdings)
        self._check_terms(previous.memory, self.judgement.memory)
        if not self.answered.is_set():
            self.answered.set()
            # Whoever waited for it speaks first.
            await anyio.lowlevel.checkpoint()
        self._publish()
        held_units = len(self._ledger.held or ())
        self._report.decided(previous, self.judgement, self.terms, held_units)

    def _observe(self, observed: Observation) -> None:
        self.observed = observed
        if observed.held_units:
            # Units whose memory isn't loaded yet would hide what the TEE OS uses.
            return
        use_bytes = observed.unheld_use_bytes(self.terms.unit_bytes)
        lowest_bytes = self.unheld_use_lowest_bytes
        self.unheld_use_lowest_bytes = (
            use_bytes if lowest_bytes is None else min(lowest_bytes, use_bytes)
        )

    async def _follow_promises(self) -> None:
        """Show ids as held, and so as Healthy, as soon as Allocate hands them out.

        Then read the kubelet's books until they show them, so that they stay held.
        """
        while True:
            self._relist()
            if not self._ledger.waits:
                await self._ledger.next_promise()
                self._relist()
                await anyio.sleep(FIRST_BOOKS_SECONDS)
            else:
                await anyio.sleep(BOOKS_SECONDS)
            await self._ledger.refresh()

    def _relist(self) -> None:
        self.judgement = relist(self.judgement, self._ledger.held, self.terms)
        self._publish()

    async def _ask(self) -> tuple[TeeMemory | TeeError, Sequence[str]]:
        """Ask the TEE; its reading or its fault, and what containers would lack on the node."""
        try:
            with self.queries.timed():
                memory = await read_memory(self._backend, self._query_seconds)
            return memory, await self._settled()
        except TeeError as error:
            return error, ()

    async def _settled(self) -> Sequence[str]:
        """Ask the backend what it only knows after a reading; what containers would lack."""

        async def settle() -> Sequence[str]:
            if self.terms.reserve_bytes is None:
                reserve_bytes = self._backend.default_reserve_bytes
                self.terms = self.terms._replace(reserve_bytes=reserve_bytes)
            return self._missing()

        return await guarded("access() or default_reserve_bytes", settle, self._query_seconds)

    def _missing(self) -> tuple[str, ...]:
        """The paths that containers would lack."""
        return missing_below(self._host_root, self._backend.access().host_paths())

    def _check_terms(self, before: TeeMemory | None, memory: TeeMemory | None) -> None:
        """See whether the terms fit a total that is new; at the first, they must."""
        if memory is None or (before is not None and before.total_bytes == memory.total_bytes):
            return
        problem = check_terms(memory, self.terms)
        if problem is not None:
            if before is None:
                raise ConfigError(problem)
            _log.warning("terms_do_not_fit", problem=problem)

    def _publish(self) -> None:
        judgement = self.judgement
        if judgement.inventory is None:
            return
        fault = None
        if judgement.cause is not None and judgement.cause.kind != MISSING_ON_NODE:
            fault = f"{judgement.cause.message}: {judgement.cause.cure}"
        listed = self._listings.value
        if listed is None or listed.inventory != judgement.inventory:
            frame = self._encoder.encode(judgement.inventory)
            self.list_changes += 1
            self._listings.set(Listing(judgement.inventory, frame, fault))
        elif listed.fault != fault:
            self._listings.set(Listing(listed.inventory, listed.frame, fault))


def missing_below(host_root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the node's paths that aren't there; links are not followed out of the host root."""
    return tuple(path for path in paths if not os.path.lexists(host_root / path.lstrip("/")))
