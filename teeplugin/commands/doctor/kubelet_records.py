"""Asks the kubelet's PodResources which units pods hold, and how many units are allocatable."""

from errno import ENOENT
from pathlib import Path

from grpclib import Status

from teeplugin.commands.doctor.evidence import RecordsSeen
from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut, NoAnswer
from teeplugin.kubelet.pod_resources_answer import allocatable_units, holders_in
from teeplugin.kubelet.pod_resources_client import CALL_SECONDS, get_allocatable, list_pods
from teeplugin.policy.device_list import IdSet


async def look_at_records(path: Path, resource_name: str) -> RecordsSeen:
    """Call List, and GetAllocatableResources, which kubelets before 1.23 don't serve."""
    allocated: dict[tuple[str, str, str], IdSet] = {}
    try:
        for holder in holders_in(await list_pods(path), resource_name):
            if holder is not None:
                key = (holder.namespace, holder.pod, holder.container)
                allocated[key] = allocated.get(key, IdSet()) | holder.ids
    except CallRefused as error:
        is_old = error.status is Status.UNIMPLEMENTED
        return RecordsSeen(error=f"refuses List ({error.status.name})", is_old=is_old)
    except CallTimedOut:
        return RecordsSeen(error=f"didn't answer within {CALL_SECONDS:g} s", is_silent=True)
    except NoAnswer as error:
        is_missing = error.errno == ENOENT
        return RecordsSeen(error="isn't there" if is_missing else f"doesn't answer ({error})")
    except ValueError as error:
        return RecordsSeen(error=f"gives no answer of PodResources ({error})")
    return RecordsSeen(allocated, await _listed(path, resource_name))


async def _listed(path: Path, resource_name: str) -> int | None:
    try:
        return allocatable_units(await get_allocatable(path), resource_name)
    except (CallError, ValueError):
        return None
