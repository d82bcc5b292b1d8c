"""The task that asks the TEE, lets the judgement decide, and publishes the list; run by plugin.

One query is outstanding at a time, each has a deadline, and every change is logged once with its
cause, recovery as well as failure.
"""

import os
from pathlib import Path
from time import monotonic

import anyio

from teeplugin import units
from teeplugin.config import ConfigError
from teeplugin.inventory import FrameEncoder, Listing
from teeplugin.judgement import Cause, Judgement, Terms, check_terms, judge
from teeplugin.latest import Latest
from teeplugin.log import get_logger
from teeplugin_backends.base import BadReply, TeeBackend, TeeError, TeeMemory, TimedOut

QUERY_SECONDS = 10.0
"""How long the TEE may take for one query."""

_log = get_logger()


class Health:
    """Keeps `listings` true to what `backend` answers.

    What containers are handed is looked for under `host_root`, where the node's paths are seen.
    """

    def __init__(
        self,
        *,
        backend: TeeBackend,
        terms: Terms,
        listings: Latest[Listing | None],
        host_root: Path,
        query_seconds: float = QUERY_SECONDS,
    ) -> None:
        self._backend = backend
        self._terms = terms
        self._listings = listings
        self._host_root = host_root
        self._query_seconds = query_seconds
        self._encoder = FrameEncoder()
        self._asked = anyio.Event()
        self._fault_since = 0.0

    def ask_now(self) -> None:
        """Ask the TEE without waiting for the next time; at once after a query under way."""
        self._asked.set()

    async def run(self) -> None:
        """Ask, judge, publish and wait, until cancelled.

        Raises:
            ConfigError: the first reading shows that the precision or the reserve doesn't fit.
        """
        judgement = Judgement()
        while True:
            self._asked = anyio.Event()
            answer = await self._ask()
            previous = judgement
            missing = self._missing() if isinstance(answer, TeeMemory) else ()
            judgement = judge(answer, missing, previous, self._terms)
            if judgement.memory is not None and judgement.memory != previous.memory:
                self._check_terms(judgement.memory, first=previous.inventory is None)
            self._publish(judgement)
            self._report(previous, judgement)
            with anyio.move_on_after(judgement.ask_again_seconds):
                await self._asked.wait()

    async def _ask(self) -> TeeMemory | TeeError:
        try:
            with anyio.move_on_after(self._query_seconds):
                return await self._backend.memory()
            return TimedOut(f"no answer within {self._query_seconds:g} s")
        except TeeError as error:
            return error
        except Exception as error:  # noqa: BLE001 - the plugin outlives a backend's bugs
            problem = f"{type(error).__name__}: {error}"
            _log.debug("backend_bug", error=problem, exc_info=error)
            return BadReply(f"a bug in the backend: {problem}", cure="report it to its author")

    def _missing(self) -> list[str]:
        """The paths that containers would lack; links are not followed out of the host root."""
        return [
            path
            for path in self._backend.access().host_paths()
            if not os.path.lexists(self._host_root / path.lstrip("/"))
        ]

    def _check_terms(self, memory: TeeMemory, *, first: bool) -> None:
        problem = check_terms(memory, self._terms)
        if problem is not None:
            if first:
                raise ConfigError(problem)
            _log.warning("terms_do_not_fit", problem=problem)

    def _publish(self, judgement: Judgement) -> None:
        if judgement.inventory is None:
            return
        fault = None
        if judgement.cause is not None:
            fault = f"{judgement.cause.message}: {judgement.cause.cure}"
        listed = self._listings.value
        if listed is None or listed.inventory != judgement.inventory:
            frame = self._encoder.encode(judgement.inventory)
            self._listings.set(Listing(judgement.inventory, frame, fault))
        elif listed.fault != fault:
            self._listings.set(Listing(listed.inventory, listed.frame, fault))

    def _report(self, previous: Judgement, now: Judgement) -> None:
        if now.cause is not None and now.cause != previous.cause:
            if previous.cause is None:
                self._fault_since = monotonic()
            _log.error("tee_unhealthy", **_words(now.cause))
        if now.suspicion is not None and now.suspicion != previous.suspicion:
            _log.warning("tee_suspicious", **_words(now.suspicion))
        if previous.cause is not None and now.cause is None:
            seconds = round(monotonic() - self._fault_since, 1)
            _log.info("tee_recovered", was=previous.cause.kind, after_seconds=seconds)
        elif previous.suspicion is not None and now.suspicion is None and now.cause is None:
            _log.info("tee_suspicion_over", was=previous.suspicion.kind)
        if now.inventory is not None and now.memory is not None:
            count = len(now.inventory.ids)
            if previous.inventory is None:
                self._report_capacity(now.memory, count)
            elif count != len(previous.inventory.ids):
                _log.warning("capacity_changed", units=count, was=len(previous.inventory.ids))

    def _report_capacity(self, memory: TeeMemory, count: int) -> None:
        terms = self._terms
        _log.info(
            "capacity",
            units=count,
            unit_bytes=terms.unit_bytes,
            total_bytes=memory.total_bytes,
            free_bytes=memory.free_bytes,
            reserve_bytes=terms.reserve_bytes,
        )
        if count > units.COSTLY_UNITS:
            capacity_bytes = units.capacity_bytes(memory.total_bytes, terms.reserve_bytes)
            _log.warning(
                "many_units",
                units=count,
                effect="the kubelet handles each change of health and each restart in a time that "
                "grows with units times allocated units, seconds of it under its own lock",
                cure=f"-precision {units.comfortable_precision_kb(capacity_bytes)} "
                "under a resource name of its own",
            )


def _words(cause: Cause) -> dict[str, str]:
    return {"cause": cause.kind, "error": cause.message, "cure": cause.cure}
