"""What a ResourceClaim's allocation gives a container, and which runtimes can give it. Pure.

Field names are those of the API group resource.k8s.io/v1.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from teeplugin.dra.quantity import parse_quantity
from teeplugin.dra.resources import DRIVER
from teeplugin.policy import cdi

LEAST_CONTAINERD: Final = (2, 0)
"""CDI is always on from here on. 1.7 has it behind a setting that no driver can see, and 1.6 starts
a container without the devices that it doesn't know."""

LEAST_CRI_O: Final = (1, 23)

_RUNTIME = re.compile(r"(?P<name>[a-z0-9-]+)://v?(?P<major>[0-9]{1,9})\.(?P<minor>[0-9]{1,9})")


class ClaimRef(NamedTuple):
    """How the kubelet names a claim."""

    namespace: str
    name: str
    uid: str


class Prepared(NamedTuple):
    """What a claim gives to each container that names it: `units`, for all its `requests`."""

    units: int
    requests: tuple[str, ...]
    share_id: str | None


class ClaimError(Exception):
    """A claim can't be prepared: one line with the value, the rule and the fix."""


def prepared_of(
    claim: Mapping[str, Any], reference: ClaimRef, pool: str, unit_bytes: int
) -> Prepared:
    """Sum what our results of a claim consume, in whole units, upwards.

    Raises:
        ClaimError: it is another claim, or isn't allocated here by consumable capacity.
    """
    uid = (claim.get("metadata") or {}).get("uid")
    if uid != reference.uid:
        raise ClaimError(
            f"the claim's uid is {uid}, not {reference.uid}: it was deleted and created again: "
            "delete the pod; its successor gets the new claim"
        )
    allocation = (claim.get("status") or {}).get("allocation") or {}
    results = (allocation.get("devices") or {}).get("results") or ()
    ours = [result for result in results if result.get("driver") == DRIVER]
    if not ours:
        raise ClaimError(f"the claim has no allocation of {DRIVER}: wait for the scheduler")
    amount = sum(_consumed_bytes(result, pool) for result in ours)
    units = max(1, -(-amount // unit_bytes))
    if units > cdi.MOST_AMOUNTS:
        raise ClaimError(
            f"the claim has {units} units: a container gets at most {cdi.MOST_AMOUNTS}; request "
            "less, or give the plugin a larger -precision"
        )
    # Where a request has alternatives, the kubelet knows it by its own name.
    requests = dict.fromkeys(str(result.get("request")).partition("/")[0] for result in ours)
    return Prepared(units, tuple(requests), _share_id(ours))


def _consumed_bytes(result: Mapping[str, Any], pool: str) -> int:
    if result.get("pool") != pool:
        raise ClaimError(f"the claim is allocated on {result.get('pool')}, not on {pool}")
    if result.get("adminAccess"):
        raise ClaimError(
            "the claim has adminAccess, which consumes no memory: remove adminAccess from it"
        )
    consumed = (result.get("consumedCapacity") or {}).get("memory")
    if consumed is None:
        raise ClaimError(
            "the claim's allocation has no consumedCapacity.memory: enable the feature gate "
            "DRAConsumableCapacity in the API server and the scheduler"
        )
    try:
        return parse_quantity(consumed)
    except ValueError as error:
        raise ClaimError(f"consumedCapacity.memory: {error}") from error


def _share_id(results: Iterable[Mapping[str, Any]]) -> str | None:
    return next((str(each["shareID"]) for each in results if each.get("shareID")), None)


def runtime_problem(container_runtime_version: object) -> str | None:
    """Say why a node's runtime can't be given CDI devices, with the fix; None if it can.

    `container_runtime_version` is the node's own, such as `containerd://2.4.2`.
    """
    text = str(container_runtime_version)
    found = _RUNTIME.match(text)
    least = {"containerd": LEAST_CONTAINERD, "cri-o": LEAST_CRI_O}
    if found and found["name"] in least:
        if (int(found["major"]), int(found["minor"])) >= least[found["name"]]:
            return None
        wanted = ".".join(map(str, least[found["name"]]))
        return (
            f"the node's runtime is {text}, which may start containers without the TEE: must be "
            f"{found['name']} {wanted} or newer; update it, or use serve: device-plugin"
        )
    return (
        f"the node's runtime is {text}: must be containerd or CRI-O, which are known to apply CDI "
        "devices; change the runtime, or use serve: device-plugin"
    )
