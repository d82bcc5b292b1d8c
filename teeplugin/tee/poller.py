"""Queries the TEE, has the policy decide, and publishes the device list.

One query is outstanding at a time, each has a deadline, and every change is logged once with its
cause, recovery as well as failure.
"""

import math
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import anyio
import anyio.lowlevel

from teeplugin.config.settings import ConfigError
from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.logs.setup import get_logger
from teeplugin.policy import units
from teeplugin.policy.decide import (
    CONFIRM_SECONDS,
    OF_THE_NODE,
    Cause,
    Decision,
    Holdings,
    PolicySettings,
    check_policy_settings,
    decide,
    missing_on_node,
    relist,
)
from teeplugin.policy.device_list import DeviceListEncoder, PublishedList
from teeplugin.primitives.counters import QueryStats
from teeplugin.primitives.latest import Latest
from teeplugin.primitives.signal import Signal
from teeplugin.primitives.waiting import first_of
from teeplugin.tee.cdi_check import CdiCheck
from teeplugin.tee.guard import (
    guarded,
    read_default_reserve,
    read_limited_containers,
    read_memory,
)
from teeplugin.tee.report import Report
from teeplugin_backends.base import (
    LOOK_SECONDS,
    QUERY_SECONDS,
    Exhausted,
    TeeBackend,
    TeeError,
    TeeMemory,
)

FIRST_RECORDS_SECONDS = 0.2
"""After so long the kubelet usually reports what Allocate handed out. Read late, its records might
miss a pod that goes at once, whose units would count as allocated for the promise's minute."""

RECORDS_SECONDS = 2.0
"""How often they are read from then on until they show it."""

RELEASE_SECONDS = 5.0
"""How often they are read while pods hold units. Memory that others took while a pod held units
without using them shows only once the pod has ended: until then its units are offered again."""

EVENT_SECONDS = 5.0
"""The shortest time between queries that are made because pods came or went."""

_log = get_logger()


class Observation(NamedTuple):
    """A reading, and how many units pods held while it was taken."""

    memory: TeeMemory
    allocated_units: int

    def unallocated_use_bytes(self, unit_bytes: int) -> int:
        """What others than the pods with units used at the least, the TEE OS among them."""
        used_bytes = self.memory.total_bytes - self.memory.free_bytes
        return units.unallocated_use_bytes(used_bytes, self.allocated_units, unit_bytes)


class TeePoller:
    """Keeps `latest_list` true to what `backend` answers.

    `answered` is set at the first answer, if the terms fit it; `decided` at each decision. What
    containers are handed is looked for under `host_root`, where the node's paths are seen.

    `wanted` is what the operator decided, which the caller may change; `policy_settings` are those
    in force. `default_reserve_bytes` is the backend's own reserve, known from its first reading on,
    and written here only. Once
    `entered`, the caller that ends this leaves the backend.

    For telemetry: the `decision` in force and its `policy_settings`, the `queries` counted; the
    last reading `observed` with the allocation records known, and the least that was used in such
    readings while pods held nothing; how often the list was another one.
    """

    def __init__(
        self,
        *,
        backend: TeeBackend,
        policy_settings: PolicySettings,
        pod_resources: PodResourcesClient,
        latest_list: Latest[PublishedList | None],
        host_root: Path,
        query_seconds: float = QUERY_SECONDS,
        cdi: CdiCheck | None = None,
    ) -> None:
        self._backend = backend
        self.wanted = policy_settings
        self._pod_resources = pod_resources
        self.decision = Decision()
        self.queries = QueryStats()
        self.observed: Observation | None = None
        self.unallocated_use_min_bytes: int | None = None
        self.list_changes = 0
        self.default_reserve_bytes: int | None = None
        self.entered = False
        self._latest_list = latest_list
        self._host_root = host_root
        self._query_seconds = query_seconds
        self._cdi = cdi
        self.limited_containers = 0
        self._encoder = DeviceListEncoder()
        self.decided = Signal()
        self._asked = Signal()
        self._changed = Signal()
        self._report = Report()
        self.answered = anyio.Event()
        self._counted_at = -math.inf

    @property
    def policy_settings(self) -> PolicySettings:
        """What is in force: the backend's own reserve where the operator names none."""
        return self.wanted.resolved(self.default_reserve_bytes)

    @property
    def external_use_min_bytes(self) -> int | None:
        """What others than pods with units used at the least; None while it isn't known."""
        if self.observed is None:
            return None
        unallocated_bytes = self.observed.unallocated_use_bytes(self.policy_settings.unit_bytes)
        return units.external_use_min_bytes(
            unallocated_bytes, self.policy_settings.reserve_bytes or 0
        )

    def query_now(self) -> None:
        """Ask the TEE without waiting for the next time; at once after a query under way."""
        self._asked.set()

    def query_soon(self) -> None:
        """Ask the TEE because pods came or went, at least `EVENT_SECONDS` after the last query.

        Not where the operator has switched the queries off.
        """
        if self.policy_settings.interval_seconds:
            self._changed.set()

    async def run(self) -> None:
        """Ask, judge, publish and wait, until cancelled.

        Raises:
            ConfigError: the first reading shows that the precision or the reserve doesn't fit.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._follow_allocations)
            tasks.start_soon(self._follow_records)
            if self._cdi is not None:
                tasks.start_soon(self._follow_kubelet, self._cdi)
            while True:
                asked, changed = self._asked.count, self._changed.count
                await self._query()
                if self.decision.unconfirmed_answers:
                    # Not to be hurried: what is asked about again at once proves nothing.
                    await anyio.sleep(CONFIRM_SECONDS)
                    continue
                await first_of(
                    self.decision.ask_again_seconds,
                    partial(self._asked.after, asked),
                    partial(self._after_change, changed),
                )

    async def _after_change(self, changed: int) -> None:
        since = monotonic()
        await self._changed.after(changed)
        await anyio.sleep(max(0.0, since + EVENT_SECONDS - monotonic()))

    async def _query(self) -> None:
        """Query the TEE, read the allocation records before and after, and publish the decision."""
        known = await self._pod_resources.refresh()
        self._pod_resources.collect_in_use()
        answer, lack = await self._ask()
        self.queries.answered(answer.kind if isinstance(answer, TeeError) else None)
        known = await self._pod_resources.refresh() and known
        in_use = self._pod_resources.in_use if known else None
        if in_use is not None and isinstance(answer, TeeMemory):
            self._observe(Observation(answer, len(in_use)))
        first = self.decision.shortage.seen_once is None
        spaced = first or monotonic() - self._counted_at >= CONFIRM_SECONDS
        if in_use is not None and spaced:
            self._counted_at = monotonic()
        holdings = Holdings(self._pod_resources.allocated, in_use if spaced else None)
        previous = self.decision
        self.decision = decide(answer, lack, previous, self.policy_settings, holdings)
        self._check_policy_settings(previous.memory, self.decision.memory)
        if not self.answered.is_set():
            self.answered.set()
            # Let tasks that wait for the first answer log before the list is published.
            await anyio.lowlevel.checkpoint()
        self._publish()
        allocated_units = len(self._pod_resources.allocated or ())
        self._report.decided(previous, self.decision, self.policy_settings, allocated_units)

    def _observe(self, observed: Observation) -> None:
        self.observed = observed
        if observed.allocated_units:
            # Units whose memory isn't loaded yet would hide what the TEE OS uses.
            return
        use_bytes = observed.unallocated_use_bytes(self.policy_settings.unit_bytes)
        lowest_bytes = self.unallocated_use_min_bytes
        self.unallocated_use_min_bytes = (
            use_bytes if lowest_bytes is None else min(lowest_bytes, use_bytes)
        )

    async def _follow_allocations(self) -> None:
        """Show ids as allocated, and so as Healthy, as soon as Allocate hands them out."""
        seen = self._pod_resources.changed.count
        while True:
            seen = await self._pod_resources.changed.after(seen)
            self._relist()

    async def _follow_records(self) -> None:
        """Read the kubelet's allocation records until they show what Allocate handed out.

        And from time to time while pods hold units, because nothing reports that one has ended.
        """
        records = self._pod_resources
        while True:
            known, seen = records.allocated, records.changed.count
            seconds = RELEASE_SECONDS if known else math.inf
            if records.has_unrecorded:
                seconds = RECORDS_SECONDS
            if await first_of(seconds, partial(records.changed.after, seen)):
                await anyio.sleep(FIRST_RECORDS_SECONDS)
            await records.refresh()
            if known is not None and records.allocated != known:
                self.query_soon()

    def _relist(self) -> None:
        self.decision = relist(self.decision, self._pod_resources.allocated, self.policy_settings)
        self._publish()

    async def _follow_kubelet(self, cdi: CdiCheck) -> None:
        """Judge anew as soon as another kubelet watches the list that can, or can't, pass CDI."""
        while True:
            before = cdi.kubelet_problem()
            await cdi.another_kubelet()
            if cdi.kubelet_problem() != before:
                self.query_now()

    async def _ask(self) -> tuple[TeeMemory | TeeError, Cause | None]:
        """Ask the TEE; its reading or its fault, and what containers would lack on the node."""
        answer: TeeMemory | TeeError
        try:
            try:
                with self.queries.timed():
                    await self._enter()
                    answer = await read_memory(self._backend, self._query_seconds)
            except Exhausted as error:
                if self.decision.memory is None:
                    raise
                answer = error
            return answer, await self._settled(answer)
        except TeeError as error:
            return error, None

    async def _enter(self) -> None:
        """Enter the backend, once that succeeds: what hinders it is a fault that may end."""
        if not self.entered:
            await guarded("__aenter__()", self._backend.__aenter__, LOOK_SECONDS)
            self.entered = True

    async def _settled(self, answer: TeeMemory | TeeError) -> Cause | None:
        """Ask the backend what it only knows after a reading; what containers would lack."""

        async def settle() -> Cause | None:
            if self.default_reserve_bytes is None:
                self.default_reserve_bytes = read_default_reserve(self._backend)
                self.limited_containers = read_limited_containers(self._backend)
            access = self._backend.access()
            missing = missing_below(self._host_root, access.host_paths())
            return missing_on_node(missing, access.missing_fix)

        lack = await guarded("access() or default_reserve_bytes", settle, self._query_seconds)
        if lack is not None or self._cdi is None:
            return lack
        memory = answer if isinstance(answer, TeeMemory) else self.decision.memory
        capacity_bytes = self.policy_settings.capacity_bytes(memory) if memory else 0
        unit_bytes = self.policy_settings.unit_bytes
        asked = units.units_in(capacity_bytes, unit_bytes)
        return self._cdi.cause(asked, unit_bytes, limited=bool(self.limited_containers))

    def _check_policy_settings(self, before: TeeMemory | None, memory: TeeMemory | None) -> None:
        """See whether the terms fit a total that is new; at the first, they must."""
        if memory is None or (before is not None and before.total_bytes == memory.total_bytes):
            return
        problem = check_policy_settings(memory, self.policy_settings)
        if problem is not None:
            if before is None:
                raise ConfigError(problem)
            _log.warning("settings_do_not_fit", problem=problem)

    def _publish(self) -> None:
        decision = self.decision
        self.decided.set()
        if decision.device_list is None:
            return
        fault = None
        if decision.cause is not None and decision.cause.kind not in OF_THE_NODE:
            fault = f"{decision.cause.message}: {decision.cause.fix}"
        listed = self._latest_list.value
        if listed is None or listed.device_list != decision.device_list:
            frame = self._encoder.encode(decision.device_list)
            self.list_changes += 1
            self._latest_list.set(PublishedList(decision.device_list, frame, fault))
        elif listed.fault != fault:
            self._latest_list.set(PublishedList(listed.device_list, listed.frame, fault))


def missing_below(host_root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Those of the node's paths that aren't there; links are not followed out of the host root."""
    return tuple(path for path in paths if not os.path.lexists(host_root / path.lstrip("/")))
