"""What `/status` answers: the units, who holds them, what is wrong, what happened; for server."""

from typing import Any

from teeplugin.daemon.parts import Running
from teeplugin.logs.setup import recent_events


def status_of(running: Running) -> dict[str, Any]:
    """Tell all of a running plugin that an operator asks first; bytes and units, as whole numbers.

    What isn't known yet is null.
    """
    judgement, inventory, held = running.health.judgement, running.inventory, running.ledger.held
    cause = judgement.cause or judgement.suspicion
    return {
        "resource": running.resource,
        "version": running.version,
        "backend": running.backend,
        "units": {
            "bytes": running.health.terms.unit_bytes,
            "capacity": len(inventory.ids),
            "allocatable": len(inventory.ids) - len(inventory.unhealthy),
            "held": None if held is None else len(held),
            "unhealthy": len(inventory.unhealthy),
            "unhealthy_cause": judgement.unhealthy_kind if inventory.unhealthy else None,
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


def _tee(running: Running) -> dict[str, Any] | None:
    health = running.health
    memory, terms = health.judgement.memory, health.terms
    if memory is None:
        return None
    return {
        "total_bytes": memory.total_bytes,
        "free_bytes": memory.free_bytes,
        "reserve_bytes": terms.reserve_bytes or 0,
        "external_use_min_bytes": health.external_use_min_bytes,
        "last_reading": health.queries.last_reading or None,
    }
