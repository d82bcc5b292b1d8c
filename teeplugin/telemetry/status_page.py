"""What `/status` answers: the units, who holds them, what is wrong, what happened."""

from typing import Any

from teeplugin.config.settings import SETTINGS
from teeplugin.daemon.parts import PluginParts
from teeplugin.logs.setup import recent_events
from teeplugin.primitives.document import document, rfc3339


def status_of(parts: PluginParts) -> dict[str, Any]:
    """Tell all of a running plugin that an operator asks first; bytes and units, as whole numbers.

    What isn't known yet is null. `settings` are those in force, as flags and YAML have them, and
    `settings_waiting` those that will be after a restart and differ.
    """
    decision = parts.poller.decision
    cause = decision.cause or decision.suspected_fault
    facts = {
        "running": True,
        "resource_name": parts.resource,
        "backend": parts.backend,
        "units": _units(parts),
        "tee": _tee(parts),
        "tee_versions": dict(parts.tee_versions()),
        "cause": cause
        and {
            "kind": cause.kind,
            "error": cause.message,
            "fix": cause.fix,
            "confirmed": decision.cause is not None,
        },
        "registered": parts.registration.status.not_registered_reason is None,
        "not_registered_reason": parts.registration.status.not_registered_reason,
        "serve": "dra" if parts.dra else "device-plugin",
        "dra": _dra(parts),
        "settings": {
            key: setting.text_in(parts.reloader.settings) for key, setting in SETTINGS.items()
        },
        "settings_waiting": dict(parts.reloader.waiting),
        "settings_problem": parts.reloader.problem,
        "settings_misfit": parts.misfit,
        "pod_resources_readable": parts.pod_resources.reads.readable,
        "holders": [
            {
                "namespace": holder.namespace,
                "pod": holder.pod,
                "container": holder.container,
                "units": len(holder.ids),
            }
            for holder in parts.pod_resources.holders or ()
        ],
        "limits": _limits(parts),
        "events": recent_events(),
    }
    return document("status", facts)


def _units(parts: PluginParts) -> dict[str, Any]:
    device_list, allocated = parts.device_list, parts.pod_resources.allocated
    unhealthy_kind = parts.poller.decision.unhealthy_kind
    return {
        "unit_bytes": parts.poller.policy_settings.unit_bytes,
        "capacity": len(device_list.ids),
        "allocatable": len(device_list.ids) - len(device_list.unhealthy),
        "allocated": None if allocated is None else len(allocated),
        "unhealthy": len(device_list.unhealthy),
        "unhealthy_cause": unhealthy_kind if device_list.unhealthy else None,
    }


def _dra(parts: PluginParts) -> dict[str, Any] | None:
    """What only DRA mode has; `problem` keeps claims from this node, `api_error` is the latest."""
    if parts.dra is None:
        return None
    publisher = parts.dra.publisher
    devices = (publisher.stored or {}).get("spec", {}).get("devices", ())
    return {
        "slice": publisher.name,
        "published_bytes": publisher.stored_bytes,
        "taints": [taint["key"] for each in devices for taint in each.get("taints") or ()],
        "problem": publisher.problem,
        "api_error": publisher.error,
    }


def _tee(parts: PluginParts) -> dict[str, Any] | None:
    poller = parts.poller
    memory, policy_settings = poller.decision.memory, poller.policy_settings
    if memory is None:
        return None
    return {
        "total_bytes": memory.total_bytes,
        "free_bytes": memory.free_bytes,
        "reserve_bytes": policy_settings.reserve_bytes or 0,
        "external_use_min_bytes": poller.external_use_min_bytes,
        "last_reading": rfc3339(last) if (last := poller.queries.last_reading) else None,
    }


def _limits(parts: PluginParts) -> dict[str, Any] | None:
    """Tell which containers the TEE limits; null where it limits none, or that isn't known."""
    limits = parts.limits
    if limits is None or limits.seen is None:
        return None
    seen = limits.seen
    return {
        "limited": seen.limited,
        "unset": seen.unset,
        "unrecorded": limits.unrecorded,
        "groups": seen.groups,
        "groups_max": limits.most,
        "last_reconcile": rfc3339(seen.reconciled) if seen.reconciled else None,
        "reconcile_problem": seen.problem or None,
    }
