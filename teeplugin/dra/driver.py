"""The DRAPlugin RPCs: the kubelet calls them before a pod's containers start, and after they end.

Prepare reads the claim and answers with the name of a CDI device that the node's specification has
already, so nothing is written and Unprepare has nothing to undo. The TEE is never asked.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any, Final

from teeplugin.api.dra.k8s.io.kubelet.pkg.apis.dra import v1
from teeplugin.dra.claims import ClaimError, ClaimRef, Prepared, prepared_of
from teeplugin.dra.holders import ClaimHolders
from teeplugin.dra.resources import DEVICE
from teeplugin.logs.setup import get_logger
from teeplugin.policy import cdi
from teeplugin.policy.device_list import IdSet

MAX_REQUEST_BYTES: Final = 65_536
"""Of a request: the kubelet sends the claims of one pod, at most some hundred bytes each."""

PREPARATION_RESULTS: Final = ("ok", "refused", "fault", "api_error")

_MOST_LOGGED = 1024  # claims, of those that could not be prepared

ReadClaim = Callable[[str, str], Awaitable[Mapping[str, Any]]]
"""Gives the claim of this namespace and name, as JSON has it.

Raises:
    ClaimUnreadableError: there is none, or the API server doesn't give it.
"""

_log = get_logger()


class ClaimUnreadableError(Exception):
    """A claim can't be read from the API server; the text says why and what to do."""


class _FaultError(Exception):
    """The TEE has a fault: the kubelet asks again until it has recovered."""


class DraDriver(v1.DraPluginBase):
    """Answers for the node `pool`.

    `problem` says why no claim can be prepared on this node, or None; `fault` why no new one can.
    `on_prepared` gets the ids that a claim has now. `preparations` counts claims by
    `PREPARATION_RESULTS`, and `unpreparations` counts claims.
    """

    def __init__(
        self,
        *,
        pool: str,
        unit_bytes: int,
        read_claim: ReadClaim,
        holders: ClaimHolders,
        problem: Callable[[], str | None],
        fault: Callable[[], str | None],
        on_prepared: Callable[[IdSet], None],
    ) -> None:
        self._pool = pool
        self._unit_bytes = unit_bytes
        self._read_claim = read_claim
        self._holders = holders
        self._problem = problem
        self._fault = fault
        self._on_prepared = on_prepared
        self._prepared: dict[str, Prepared] = {}
        self._logged: dict[str, str] = {}
        self.preparations = Counter(dict.fromkeys(PREPARATION_RESULTS, 0))
        self.unpreparations = 0

    async def node_prepare_resources(
        self, message: v1.NodePrepareResourcesRequest
    ) -> v1.NodePrepareResourcesResponse:
        """Prepare each claim of a pod; the answer has an entry for each, by its uid."""
        answers = {}
        for claim in message.claims:
            reference = ClaimRef(claim.namespace, claim.name, claim.uid)
            answers[claim.uid] = await self._prepare(reference)
        return v1.NodePrepareResourcesResponse(claims=answers)

    async def node_unprepare_resources(
        self, message: v1.NodeUnprepareResourcesRequest
    ) -> v1.NodeUnprepareResourcesResponse:
        """Forget the claims; never refused, because a pod that is deleted waits for it."""
        answers = {}
        for claim in message.claims:
            answers[claim.uid] = v1.NodeUnprepareResourceResponse()
            self.unpreparations += 1
            reference = ClaimRef(claim.namespace, claim.name, claim.uid)
            self._holders.release(reference)
            self._logged.pop(claim.uid, None)
            if self._prepared.pop(claim.uid, None) is not None:
                _log.info("claim_unprepared", **_words(reference))
        return v1.NodeUnprepareResourcesResponse(claims=answers)

    async def _prepare(self, reference: ClaimRef) -> v1.NodePrepareResourceResponse:
        try:
            prepared = await self._prepared_of(reference)
        except ClaimError as error:
            return self._failed(reference, "refused", error)
        except _FaultError as error:
            return self._failed(reference, "fault", error)
        except ClaimUnreadableError as error:
            return self._failed(reference, "api_error", error)
        self.preparations["ok"] += 1
        self._logged.pop(reference.uid, None)
        self._on_prepared(self._holders.prepare(reference, prepared.units))
        device = v1.Device(
            request_names=list(prepared.requests),
            pool_name=self._pool,
            device_name=DEVICE,
            cdi_device_ids=[cdi.device(prepared.units)],
            share_id=prepared.share_id,
        )
        return v1.NodePrepareResourceResponse(devices=[device])

    async def _prepared_of(self, reference: ClaimRef) -> Prepared:
        """Give what a claim has, from memory where it is prepared already."""
        if problem := self._problem():
            raise ClaimError(problem)
        prepared = self._prepared.get(reference.uid)
        if prepared is None:
            if fault := self._fault():
                raise _FaultError(fault)
            since = monotonic()
            claim = await self._read_claim(reference.namespace, reference.name)
            prepared = prepared_of(claim, reference, self._pool, self._unit_bytes)
            self._prepared[reference.uid] = prepared
            _log.info(
                "claim_prepared",
                **_words(reference),
                units=prepared.units,
                milliseconds=round((monotonic() - since) * 1000, 1),
            )
        return prepared

    def _failed(
        self, reference: ClaimRef, result: str, error: Exception
    ) -> v1.NodePrepareResourceResponse:
        self.preparations[result] += 1
        # Once for each reason: the kubelet asks again, with a back-off.
        if self._logged.get(reference.uid) != str(error):
            if len(self._logged) >= _MOST_LOGGED:
                self._logged.clear()
            self._logged[reference.uid] = str(error)
            _log.warning("claim_not_prepared", **_words(reference), error=str(error))
        return v1.NodePrepareResourceResponse(error=str(error))


def _words(reference: ClaimRef) -> dict[str, str]:
    return {"namespace": reference.namespace, "claim": reference.name}
