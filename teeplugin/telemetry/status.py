"""What `/status` answers: the units, who holds them, what is wrong, what happened; for server."""

from typing import Any

from teeplugin import units
from teeplugin.log import recent_events
from teeplugin.running import Running
from teeplugin.telemetry.metrics import SHORTAGE


def status_of(running: Running) -> dict[str, Any]:
    """Tell all of a running plugin that an operator asks first; bytes and units, as whole numbers.

    What isn't known yet is null.
    """
    listing, judgement = running.listings.value, running.health.judgement
    held = running.ledger.held
    listed = len(listing.inventory.ids) if listing else 0
    unhealthy = len(listing.inventory.unhealthy) if listing else 0
    cause = judgement.cause or judgement.suspicion
    return {
        "resource": running.resource,
        "version": running.version,
        "backend": running.backend,
        "units": {
            "bytes": running.health.terms.unit_bytes,
            "capacity": listed,
            "allocatable": listed - unhealthy,
            "held": None if held is None else len(held),
            "unhealthy": unhealthy,
            "unhealthy_cause": _unhealthy_cause(running) if unhealthy else None,
        },
        "tee": _tee(running),
        "cause": cause
        and {
            "kind": cause.kind,
            "error": cause.message,
            "cure": cause.cure,
            "believed": judgement.cause is not None,
        },
        "registered": running.registration.obstacle is None,
        "obstacle": running.registration.obstacle,
        "settings_problem": running.reloader.problem,
        "ledger_readable": running.ledger.reads.readable,
        "holders": [
            {
                "namespace": holder.namespace,
                "pod": holder.pod,
                "container": holder.container,
                "units": len(holder.ids),
            }
            for holder in running.ledger.holders or ()
        ],
        "events": recent_events(),
    }


def _unhealthy_cause(running: Running) -> str:
    cause = running.health.judgement.cause
    return cause.kind if cause else SHORTAGE


def _tee(running: Running) -> dict[str, Any] | None:
    health = running.health
    memory, terms = health.judgement.memory, health.terms
    if memory is None:
        return None
    reserve_bytes = terms.reserve_bytes or 0
    external_bytes = None
    if health.observed is not None:
        unheld_bytes = health.observed.unheld_use_bytes(terms.unit_bytes)
        external_bytes = units.external_use_min_bytes(unheld_bytes, reserve_bytes)
    return {
        "total_bytes": memory.total_bytes,
        "free_bytes": memory.free_bytes,
        "reserve_bytes": reserve_bytes,
        "external_use_min_bytes": external_bytes,
        "last_reading": health.queries.last_reading or None,
    }
