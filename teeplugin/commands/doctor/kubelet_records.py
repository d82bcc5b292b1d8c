"""Asks the kubelet's PodResources which units pods hold, and how many units are allocatable."""

import errno
from collections.abc import Iterator
from pathlib import Path

from teeplugin.commands.doctor.evidence import RecordsSeen
from teeplugin.config.settings import Settings
from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut, NoAnswer
from teeplugin.kubelet.pod_resources_answer import allocatable_units, holders_in
from teeplugin.kubelet.pod_resources_client import (
    CALL_SECONDS,
    get_allocatable,
    list_pods,
    unreadable_fix,
)
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import IdSet


async def look_at_records(path: Path, settings: Settings) -> RecordsSeen:
    """Call List, and GetAllocatableResources, which kubelets before 1.23 don't serve."""
    resource_name = settings.resource_name
    allocated: dict[tuple[str, str, str], IdSet] = {}
    try:
        for holder in _holders(await list_pods(path), settings):
            if holder is not None:
                key = (holder.namespace, holder.pod, holder.container)
                allocated[key] = allocated.get(key, IdSet()) | holder.ids
    except ValueError as error:
        words = f"gives no valid PodResources answer ({error})"
        return RecordsSeen(error=words, fix=unreadable_fix(path, NoAnswer(words)))
    except CallError as error:
        return RecordsSeen(
            error=_in_words(error),
            fix=unreadable_fix(path, error),
            is_silent=isinstance(error, CallTimedOut),
        )
    if settings.serve == "dra":
        return RecordsSeen(allocated)
    return RecordsSeen(allocated, await _listed(path, resource_name))


def _holders(data: bytes, settings: Settings) -> Iterator[Holder | None]:
    if settings.serve != "dra":
        return holders_in(data, settings.resource_name)
    from teeplugin.dra.holders import ClaimHolders  # noqa: PLC0415 - needed in DRA mode only

    return ClaimHolders().read(data)


def _in_words(error: CallError) -> str:
    match error:
        case CallRefused():
            return f"refuses List ({error.status.name})"
        case CallTimedOut():
            return f"didn't answer within {CALL_SECONDS:g} s"
        case NoAnswer(errno=errno.ENOENT):
            return "is missing"
        case _:
            return f"doesn't answer ({error})"


async def _listed(path: Path, resource_name: str) -> int | None:
    try:
        return allocatable_units(await get_allocatable(path), resource_name)
    except (CallError, ValueError):
        return None
