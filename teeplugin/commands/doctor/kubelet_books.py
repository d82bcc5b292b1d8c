"""Asks the kubelet which units pods hold, and how many it knows, over PodResources; for looks."""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
from grpclib import GRPCError, Status

from teeplugin.api.podresources import v1
from teeplugin.commands.doctor.evidence import BooksSeen
from teeplugin.kubelet.grpc_client import NO_ANSWER, channel_to
from teeplugin.kubelet.pod_resources_client import CALL_SECONDS

T = TypeVar("T")


async def look_at_books(path: Path, resource_name: str) -> BooksSeen:
    """Call List, and GetAllocatableResources, which kubelets before 1.23 don't serve."""
    try:
        pods = await _called(path, lambda stub: stub.list(v1.ListPodResourcesRequest()))
    except GRPCError as error:
        is_old = error.status is Status.UNIMPLEMENTED
        return BooksSeen(error=f"refuses List ({error.status.name})", is_old=is_old)
    except FileNotFoundError:
        return BooksSeen(error="isn't there")
    except TimeoutError:
        return BooksSeen(error=f"didn't answer within {CALL_SECONDS:g} s")
    except NO_ANSWER as error:
        return BooksSeen(error=f"doesn't answer ({error})")
    held = Counter[tuple[str, str, str]]()
    for pod in pods.pod_resources:
        for container in pod.containers:
            count = _units(container.devices, resource_name)
            if count:
                held[pod.namespace, pod.name, container.name] += count
    return BooksSeen(held, await _listed(path, resource_name))


async def _listed(path: Path, resource_name: str) -> int | None:
    try:
        known = await _called(
            path, lambda stub: stub.get_allocatable_resources(v1.AllocatableResourcesRequest())
        )
    except (GRPCError, *NO_ANSWER):
        return None
    return _units(known.devices, resource_name)


def _units(devices: list[v1.ContainerDevices], resource_name: str) -> int:
    return sum(len(each.device_ids) for each in devices if each.resource_name == resource_name)


async def _called(path: Path, call: Callable[[v1.PodResourcesListerStub], Awaitable[T]]) -> T:
    """Make one call on a connection of its own.

    Raises:
        GRPCError, or one of `NO_ANSWER`: no good answer.
    """
    with channel_to(path) as channel, anyio.fail_after(CALL_SECONDS):
        return await call(v1.PodResourcesListerStub(channel))
