"""Says what the plugin's log events mean, in a sentence each, for the live view.

docs/events.md describes the events; those that have no sentence here are shown as they are logged.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_SENTENCES: Final[Mapping[str, str]] = {
    "starting": "starting, version {version}",
    "simulated_tee": "the TEE is simulated: units have no memory behind them",
    "capacity": "the TEE's memory makes {units} units",
    "capacity_changed": "the TEE's memory makes {units} units, {was} before",
    "registered": "registered: the kubelet watches the list",
    "registering_again": "registering again: {reason}",
    "not_registered": "not registered: {reason}",
    "many_units": "{units} units: this number costs the kubelet seconds at each restart",
    "units_allocated": "{namespace}/{pod} has {units} units",
    "units_allocated_at_start": "{containers} containers had {units} units before the start",
    "units_released": "{namespace}/{pod} has released {units} units",
    "shortage": "shortage: {units} units without free memory behind them",
    "shortage_eased": "the shortage eases: {units} units, {was} before",
    "tee_fault_suspected": "the TEE may have failed, retrying: {error}",
    "tee_suspected_fault_over": "the TEE answers: no fault",
    "tee_unhealthy": "{cause}: {error}; all units are unhealthy",
    "tee_recovered": "the TEE answers again",
    "stale_socket_removed": "removed the socket of a plugin that was killed",
    "reload_requested": "reloading the settings",
    "stopping": "stopping after {signal}",
    "stopped": "stopped",
}
"""By event, with the event's fields in braces."""


_ONE: Final = re.compile(r"\b1 (container|unit)s\b")


def sentence(fields: Mapping[str, Any]) -> str | None:
    """Write an event of the log as a sentence; None where there is none that fits its fields."""
    template = _SENTENCES.get(str(fields.get("event")))
    try:
        return _ONE.sub(r"1 \1", template.format_map(fields)) if template else None
    except (KeyError, ValueError, AttributeError):
        return None
