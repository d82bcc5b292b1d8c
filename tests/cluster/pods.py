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


def replica_set(name: str, replicas: int, units: int) -> dict[str, Any]:
    """Make the manifest of a ReplicaSet whose pods, labelled app=NAME, ask for so many units each.

    A pod of it that has failed is left lying, and another is made in its place.
    """
    labels = {"app": name}
    template = pod(name, units, restart_policy="Always")
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        },
    }


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


def unit_health(found: dict[str, Any] | None, resource: str = RESOURCE) -> Counter[str]:
    """Count a pod's units by the health that its status gives each of them.

    The kubelet writes it since Kubernetes 1.36, or with the feature gate ResourceHealthStatus.
    """
    statuses = (found or {}).get("status", {}).get("containerStatuses", [])
    return Counter(
        unit["health"]
        for status in statuses
        for entry in status.get("allocatedResourcesStatus", [])
        if entry["name"] == resource
        for unit in entry["resources"]
    )


def whole(quantity: str) -> int:
    """Read a number as Kubernetes writes it, where 1000 is "1k"."""
    factor = {"k": 1000, "M": 1000_000}.get(quantity[-1:])
    return int(quantity[:-1]) * factor if factor else int(quantity)


def condition(found: dict[str, Any] | None, kind: str) -> str | None:
    """Read the status of one of an object's conditions: "True", "False", "Unknown" or None."""
    conditions = (found or {}).get("status", {}).get("conditions", [])
    return next((c["status"] for c in conditions if c["type"] == kind), None)
