"""Keeps the node's ResourceSlice in the API server as the latest offer wants it.

Level-triggered: whatever happened, each round reads what is stored and compares. Rounds come with
each reading of the TEE, each registration by the kubelet (which deletes the node's slices when it
starts), each event of a watch, and from time to time.
"""

import random
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Final, NamedTuple

import anyio

from teeplugin.dra.api_client import ApiClient, ApiError
from teeplugin.dra.claims import runtime_problem
from teeplugin.dra.resources import (
    Node,
    Offer,
    Slice,
    Traits,
    capacity_bytes,
    dropped_gates,
    is_as_wanted,
    only_capacity_differs,
    resource_slice,
    slice_name,
    with_probe,
)
from teeplugin.logs.setup import get_logger
from teeplugin.primitives.signal import Signal
from teeplugin.primitives.waiting import first_of

SPACING_SECONDS: Final = 10.0
"""Between publications on average."""

BURST: Final = 5
"""Publications that may follow each other at once: a fault, a recovery, a slice deleted by hand."""

RESERVED: Final = 3
"""Of the burst, for what is urgent: changes of nothing but the capacity never use these."""

LOOK_SECONDS: Final = 60.0
"""The longest time between two rounds."""

PROBLEM_SECONDS: Final = 300.0
"""Between rounds while this node can't be served: a gate or a runtime is seldom changed."""

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0

_UNWATCHED_FAILURES = 3  # in a row, after which the watch is said to fail

_log = get_logger()


class Budget:
    """Allows `BURST` publications at once, and one more each `SPACING_SECONDS`."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left = float(BURST)
        self._at = clock()

    def wait_seconds(self, *, urgent: bool) -> float:
        """How long a publication has to wait; 0 where it may be made now."""
        needed = 1.0 if urgent else 1.0 + RESERVED
        lacking = needed - self._refilled(self._clock())
        return max(0.0, lacking * SPACING_SECONDS)

    def spend(self) -> None:
        """Count a publication."""
        now = self._clock()
        self._left = max(0.0, self._refilled(now) - 1.0)
        self._at = now

    def _refilled(self, now: float) -> float:
        return min(float(BURST), self._left + (now - self._at) / SPACING_SECONDS)


class _Target(NamedTuple):
    """The node's own object, and why it can't be served, or None."""

    node: Node
    problem: str | None


class Publisher:
    """Publishes what `want` is given, from when the kubelet has the driver registered.

    For telemetry: the slice as it is `stored`, None while there is none or it isn't known; the
    `problem` that keeps this node from being served, and the `error` of the API server's, each None
    where there is none; how many `publications` were made, and how many rounds were `failures`.
    """

    def __init__(
        self,
        *,
        api: ApiClient,
        node_name: str,
        traits: Callable[[], Traits],
        fault_effect: str,
        is_registered: Callable[[], bool],
        budget: Budget | None = None,
    ) -> None:
        self._api = api
        self._node_name = node_name
        self.name = slice_name(node_name)
        self._traits = traits
        self._fault_effect = fault_effect
        self._is_registered = is_registered
        self._budget = budget or Budget()
        self._offer: Offer | None = None
        self._target: _Target | None = None
        self._reads_node = True
        self._keeps_fields = False
        self._differing: Slice | None = None
        self._due = Signal()
        self._read = Signal()
        self._retries = 0
        self.stored: Slice | None = None
        self.problem: str | None = None
        self.error: str | None = None
        self.publications = 0
        self.failures = 0

    @property
    def node_problem(self) -> str | None:
        """Why no claim can be prepared on this node, or None."""
        if self._target is None:
            return (
                f"the node {self._node_name} has not been read from the API server yet: "
                f"{self.error or 'wait a moment'}"
            )
        return self._target.problem

    @property
    def stored_bytes(self) -> int | None:
        """The memory of the slice as it is stored; None where there is none."""
        return capacity_bytes(self.stored)

    def want(self, offer: Offer | None) -> None:
        """Publish this from now on; nothing before the first reading."""
        self._offer = offer
        self._due.set()

    def look(self) -> None:
        """Compare at once, and read the node and the gates anew, as after a kubelet's restart."""
        self._reads_node = True
        self._keeps_fields = False
        self._due.set()

    async def run(self) -> None:
        """Publish and watch, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            while True:
                due = self._due.count
                seconds = await self._round()
                if self.error is None:
                    await first_of(seconds, partial(self._due.after, due))
                else:
                    # No event shortens the back-off.
                    await anyio.sleep(seconds)

    async def _round(self) -> float:
        """Compare and publish once; how long to wait before the next round."""
        try:
            seconds = await self._reconcile()
        except ApiError as error:
            return self._failed(error)
        if self.error is not None:
            _log.info("api_server_recovered", was=self.error, after_rounds=self._retries)
        self.error, self._retries = None, 0
        return seconds

    async def _reconcile(self) -> float:
        """Have stored what is wanted.

        Raises:
            ApiError: the API server gave no answer, or refused.
        """
        offer = self._offer
        if offer is None:
            return LOOK_SECONDS
        self.stored = stored = await self._api.resource_slice(self.name)
        self._read.set()
        if stored is None and not (offer.is_known and self._is_registered()):
            # A pod that comes before the kubelet knows the driver is tried again a minute later.
            return LOOK_SECONDS
        # A node that was made anew took the slice of the old one with it.
        target = await self._served_node(anew=self._reads_node or stored is None)
        wanted = resource_slice(offer, target.node, self._traits(), stored, self._fault_effect)
        if stored is None:
            # Where a gate is off, the API server keeps the fields of what has them already.
            self._keeps_fields = False
        problem = target.problem or await self._gate_problem(wanted)
        self._note_problem(problem)
        if problem is not None:
            if stored is not None:
                await self._api.delete_slice(self.name)
                self.stored = None
            return PROBLEM_SECONDS
        if is_as_wanted(wanted, stored) or (stored is not None and stored == self._differing):
            return LOOK_SECONDS
        urgent = not only_capacity_differs(wanted, stored)
        wait_seconds: float = self._budget.wait_seconds(urgent=urgent)
        if wait_seconds <= 0:
            await self._publish(wanted)
        return wait_seconds or LOOK_SECONDS

    async def _publish(self, wanted: Slice) -> None:
        self._budget.spend()
        self.publications += 1
        self.stored = stored = await self._api.apply_slice(wanted)
        device = wanted["spec"]["devices"][0]
        _log.info(
            "slice_published",
            slice=self.name,
            memory=device["capacity"]["memory"]["value"],
            taints=[taint["key"] for taint in device.get("taints", ())],
        )
        if dropped_gates(wanted, stored):
            # Its fields were kept at the last probe: the API server is another one since.
            self._keeps_fields = False
            self._due.set()
        elif not is_as_wanted(wanted, stored):
            # To be applied again only when it is another one.
            self._differing = stored
            _log.warning(
                "slice_altered",
                slice=self.name,
                effect="the scheduler sees a different device than the plugin publishes",
                fix="look for an admission policy or webhook that changes ResourceSlices",
            )

    async def _served_node(self, *, anew: bool) -> _Target:
        """Read the node: its uid, and whether its runtime takes CDI devices."""
        if self._target is None or anew:
            found = await self._api.node(self._node_name)
            info: dict[str, Any] = (found.get("status") or {}).get("nodeInfo") or {}
            uid = (found.get("metadata") or {}).get("uid", "")
            problem = runtime_problem(info.get("containerRuntimeVersion"))
            self._target = _Target(Node(self._node_name, uid), problem)
            self._reads_node = False
        return self._target

    async def _gate_problem(self, wanted: Slice) -> str | None:
        """Name the gates without which the API server drops our fields, by a dry run."""
        if self._keeps_fields:
            return None
        probe = with_probe(wanted)
        gates = dropped_gates(probe, await self._api.apply_slice(probe, dry_run=True))
        if gates:
            names = " and ".join(gates)
            return (
                f"the API server drops fields of ResourceSlices: enable the feature gate {names} "
                "in the API server, the scheduler and the controller manager (on by default from "
                "Kubernetes 1.36), or use serve: device-plugin"
            )
        self._keeps_fields = True
        return None

    def _note_problem(self, problem: str | None) -> None:
        """Log a problem, and its end, once."""
        if problem == self.problem:
            return
        if problem is not None:
            effect = "no slice is published, and no claim is scheduled to this node"
            _log.error("node_not_served", problem=problem, effect=effect)
        else:
            _log.info("node_served_again", was=self.problem)
        self.problem = problem

    def _failed(self, error: ApiError) -> float:
        """Log the first failure in a row; back off, as long as the API server asks for."""
        self.failures += 1
        if self.error is None:
            _log.warning(
                "api_server_failed",
                error=str(error),
                effect="the node's slice stays as it is; running pods are not affected",
                fix=error.fix,
            )
        self.error = str(error)
        seconds = _back_off_seconds(self._retries)
        self._retries += 1
        return max(seconds, error.retry_after_seconds or 0.0)

    async def _watch(self) -> None:
        """Look again at each event of the slice, and at each beginning of a watch."""
        failures = 0
        while True:
            read = self._read.count
            self._due.set()
            # While the API server is away, the rounds say when it is back.
            await self._read.after(read)
            try:
                version = await self._api.slice_version(self.name)
                # What came before this version a round sees, and what comes after it the watch.
                self._due.set()
                async for _ in self._api.slice_events(self.name, version):
                    failures = 0
                    self._due.set()
            except ApiError as error:
                failures += 1
                if failures == _UNWATCHED_FAILURES:
                    _log.warning(
                        "slice_not_watched",
                        error=str(error),
                        effect=f"changes by others are noticed up to {LOOK_SECONDS:g} s later",
                        fix=error.fix,
                    )
                await anyio.sleep(_back_off_seconds(failures))


def _back_off_seconds(retries: int) -> float:
    """Between half and all of a doubled time, so that nodes don't come all at once."""
    seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(retries, 16), LONGEST_RETRY_SECONDS)
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret
