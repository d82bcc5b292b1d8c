"""Pods as plain data: manifests for tests, and what to read from the objects that come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tests.cluster import images

RESOURCE = "huawei.com/tee-ram"
CONTAINER = "main"


def pod(
    name: str,
    units: int,
    *,
    resource: str = RESOURCE,
    node_name: str | None = None,
    command: Sequence[str] = ("sleep", "100000"),
    restart_policy: str = "Never",
    image: str = images.BUSYBOX,
) -> dict[str, Any]:
    """Make the manifest of a pod with one container that asks for so many units of a resource.

    With `node_name` the scheduler is passed by, and the kubelet must admit or refuse the pod.
    """
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(command),
    }
    if units:
        container["resources"] = {"limits": {resource: units}}
    spec: dict[str, Any] = {
        "restartPolicy": restart_policy,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
    }
    if node_name is not None:
        spec["nodeName"] = node_name
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def phase(found: dict[str, Any] | None) -> str:
    """Read a pod's phase, with the reason where one is given: "Failed/UnexpectedAdmissionError"."""
    if found is None:
        return "absent"
    status = found.get("status", {})
    reason = status.get("reason")
    return "/".join(filter(None, (status.get("phase", "Unknown"), reason)))


def count(pods: Iterable[dict[str, Any]]) -> Counter[str]:
    """Count pods by phase and reason."""
    return Counter(map(phase, pods))


def ready(found: dict[str, Any] | None) -> bool:
    """Tell whether all containers of a pod run and are ready."""
    return condition(found, "Ready") == "True"


def restarts(found: dict[str, Any]) -> int:
    """Add up how often a pod's containers were started again."""
    statuses = found.get("status", {}).get("containerStatuses", [])
    return sum(status["restartCount"] for status in statuses)


def condition(found: dict[str, Any] | None, kind: str) -> str | None:
    """Read the status of one of an object's conditions: "True", "False", "Unknown" or None."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return next((c["status"] for c in conditions if c["type"] == kind), None)
