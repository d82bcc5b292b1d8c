"""Claims as the API server has them, for tests."""

from typing import Any

from teeplugin.dra.claims import ClaimRef
from teeplugin.dra.resources import DEVICE, DRIVER

POOL = "node-1"


def result(memory: str | None = "5Mi", **fields: Any) -> dict[str, Any]:
    """One result of an allocation, of our driver unless `fields` say otherwise."""
    consumed = {"consumedCapacity": {"memory": memory}} if memory is not None else {}
    made = {"driver": DRIVER, "pool": POOL, "device": DEVICE, "request": "tee", "shareID": "s-1"}
    return made | consumed | fields


def claim(uid: str, *results: dict[str, Any]) -> dict[str, Any]:
    """A claim that is allocated with these results, or with one of 5Mi."""
    devices = {"results": list(results or (result(),))}
    return {"metadata": {"uid": uid}, "status": {"allocation": {"devices": devices}}}


def reference(name: str) -> ClaimRef:
    """How the kubelet names a claim of this name, whose uid is made from it."""
    return ClaimRef("default", name, f"uid-{name}")
