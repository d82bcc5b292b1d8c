"""Logs what changes from one decision to the next: each fault, shortage and capacity once."""

from time import monotonic

from teeplugin.logs.setup import get_logger
from teeplugin.policy import units
from teeplugin.policy.decide import Cause, Decision, PolicySettings
from teeplugin_backends.base import TeeMemory

_log = get_logger()


class Report:
    """Compares decisions, and remembers since when a fault stands."""

    def __init__(self) -> None:
        self._fault_since = 0.0

    def decided(
        self,
        previous: Decision,
        now: Decision,
        policy_settings: PolicySettings,
        allocated_units: int,
    ) -> None:
        """Log what is new in a decision; `allocated_units` are allocated at the moment."""
        self._faults(previous, now)
        if now.memory is not None and now.memory != previous.memory:
            _log.debug(
                "reading", total_bytes=now.memory.total_bytes, free_bytes=now.memory.free_bytes
            )
        if now.device_list is not None and now.memory is not None:
            before = 0 if previous.device_list is None else len(previous.device_list.ids)
            _capacity(now.memory, policy_settings, before, len(now.device_list.ids))
        _shortage(previous, now, allocated_units)

    def _faults(self, previous: Decision, now: Decision) -> None:
        # By their kinds: the words of one and the same fault may name a pid or a path.
        if now.cause is not None and _kind(now.cause) != _kind(previous.cause):
            if previous.cause is None:
                self._fault_since = monotonic()
            _log.error("tee_unhealthy", **_words(now.cause))
        if now.suspected_fault is not None and _kind(now.suspected_fault) != _kind(
            previous.suspected_fault
        ):
            _log.warning("tee_fault_suspected", **_words(now.suspected_fault))
        if previous.cause is not None and now.cause is None:
            seconds = round(monotonic() - self._fault_since, 1)
            _log.info("tee_recovered", was=previous.cause.kind, after_seconds=seconds)
        elif (
            previous.suspected_fault is not None
            and now.suspected_fault is None
            and now.cause is None
        ):
            _log.info("tee_suspected_fault_over", was=previous.suspected_fault.kind)


def _shortage(previous: Decision, now: Decision, allocated_units: int) -> None:
    if now.shortage.units == previous.shortage.units or now.memory is None:
        return
    details = {
        "units": now.shortage.units,
        "was": previous.shortage.units,
        "free_bytes": now.memory.free_bytes,
        "allocated_units": allocated_units,
    }
    if now.shortage.units > previous.shortage.units:
        _log.warning("shortage", **details)
    else:
        _log.info("shortage_eased", **details)


def _capacity(memory: TeeMemory, policy_settings: PolicySettings, before: int, count: int) -> None:
    if not before:
        _log.info(
            "capacity",
            units=count,
            unit_bytes=policy_settings.unit_bytes,
            total_bytes=memory.total_bytes,
            free_bytes=memory.free_bytes,
            reserve_bytes=policy_settings.reserve_bytes,
        )
    elif count != before:
        _log.warning("capacity_changed", units=count, was=before)
    if count > units.COSTLY_UNITS >= before:
        precision_kb = units.comfortable_precision_kb(policy_settings.capacity_bytes(memory))
        _log.warning(
            "many_units",
            units=count,
            effect="each change of health and each restart costs the kubelet time that grows "
            "with units times allocated units, up to seconds under its lock",
            fix=f"give -precision {precision_kb} with a resource name of its own",
        )


def _kind(cause: Cause | None) -> str | None:
    return cause.kind if cause else None


def _words(cause: Cause) -> dict[str, str]:
    return {"cause": cause.kind, "error": cause.message, "fix": cause.fix}
