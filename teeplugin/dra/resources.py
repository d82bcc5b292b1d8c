"""What a decision makes of the node's ResourceSlice, and how a stored one differs. Pure.

One slice a node, with one device that claims share by capacity. Field names are those of the API
group resource.k8s.io/v1.

| decision                           | slice                                                   |
|------------------------------------|---------------------------------------------------------|
| a good reading                     | capacity: all units less the shortage, at least what is |
|                                    | allocated                                               |
| fewer units than the API takes (2) | the last legal capacity, and a NoSchedule taint         |
| a confirmed fault                  | the capacity as before, and a taint with the cause      |
| no reading yet                     | none                                                    |
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from teeplugin.dra.quantity import format_quantity, parse_quantity
from teeplugin.policy.cdi import MOST_AMOUNTS
from teeplugin.policy.decide import Cause, Decision

DRIVER: Final = "tee-ram.huawei.com"
"""The driver's name: at most 63 characters, in slices, classes, claims and sockets."""

DEVICE: Final = "trustzone-0"

API_VERSION: Final = "resource.k8s.io/v1"

FAULT_TAINT: Final = f"{DRIVER}/fault"
"""The key of the taint that a confirmed fault sets; its value is the kind of the cause."""

SHORTAGE_TAINT: Final = f"{DRIVER}/shortage"
"""The key of the taint on a device with less capacity left than the API takes."""

NO_SCHEDULE: Final = "NoSchedule"
NO_EXECUTE: Final = "NoExecute"

LEAST_UNITS: Final = 2
"""The API refuses a capacity below the request policy's minimum and one step."""

_CONSUMABLE_CAPACITY: Final = "DRAConsumableCapacity"
_DEVICE_TAINTS: Final = "DRADeviceTaints"

_LONGEST_NAME = 253  # of an object: RFC 1123's subdomain
_LONGEST_STRING = 64  # of an attribute's value
_LONGEST_IDENTIFIER = 32  # of an attribute's name, which is a C identifier

# semver.org's own expression, without names for its groups.
_SEMVER = re.compile(
    r"(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)"
    r"(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)

Slice = dict[str, Any]
"""A ResourceSlice, or a part of one, as JSON has it."""


class Node(NamedTuple):
    """The node that the slice is for; the slice goes with the object of this uid."""

    name: str
    uid: str


class Traits(NamedTuple):
    """What claims may select devices by, and how many containers the TEE serves at a time.

    `enforced` says whether the TEE limits each container to its share.
    """

    flavour: str = ""
    enforced: bool = False
    versions: Mapping[str, str] = {}
    most_containers: int | None = None


class Offer(NamedTuple):
    """What the device has for claims: `units` of `unit_bytes`, or a `cause` why it has a fault.

    Before the first reading it isn't known: then a slice that is stored may be tainted, and none
    is made.
    """

    units: int
    unit_bytes: int
    cause: Cause | None = None
    is_known: bool = True

    @property
    def is_short(self) -> bool:
        """Whether there are fewer units than the API takes as a capacity."""
        return self.is_known and self.units < LEAST_UNITS


def offer_of(decision: Decision, unit_bytes: int, allocated_units: int) -> Offer | None:
    """Give what a decision offers: never less than is allocated; None before the first answer."""
    if decision.device_list is None:
        if decision.cause is None:
            return None
        return Offer(allocated_units, unit_bytes, decision.cause, is_known=False)
    units = len(decision.device_list.ids) - decision.shortage.units
    return Offer(max(units, allocated_units), unit_bytes, decision.cause)


def slice_name(node: str) -> str:
    """Name the node's slice, always the same: a successor updates it, and makes no other."""
    name = f"{node}-{DRIVER}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(node.encode()).hexdigest()[:16]
    return f"{digest}-{DRIVER}"


def resource_slice(
    offer: Offer,
    node: Node,
    traits: Traits,
    stored: Slice | None = None,
    fault_effect: str = NO_SCHEDULE,
) -> Slice:
    """Make the slice that an offer wants stored, to be applied over the `stored` one."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ResourceSlice",
        "metadata": {
            "name": slice_name(node.name),
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": node.uid}
            ],
        },
        "spec": {
            "driver": DRIVER,
            "nodeName": node.name,
            "pool": {"name": node.name, "generation": 1, "resourceSliceCount": 1},
            "devices": [_device(offer, traits, _device_in(stored), fault_effect)],
        },
    }


def with_probe(wanted: Slice) -> Slice:
    """Give the slice a taint, for a dry run that shows whether the API keeps taints."""
    probe = {"key": FAULT_TAINT, "value": "probe", "effect": NO_SCHEDULE}
    device = _device_in(wanted) | {"taints": [probe]}
    return wanted | {"spec": wanted["spec"] | {"devices": [device]}}


def is_as_wanted(wanted: Slice, stored: Slice | None) -> bool:
    """Whether a stored slice says what is wanted, but for the times that the API adds."""
    return stored is not None and _comparable(stored) == _comparable(wanted)


def only_capacity_differs(wanted: Slice, stored: Slice | None) -> bool:
    """Whether a stored slice differs in the amount of memory alone, which may wait a while."""
    if stored is None:
        return False
    amount = _memory(_device_in(wanted)).get("value")
    device = _device_in(stored)
    capacity = device.get("capacity") or {}
    memory = _memory(device) | {"value": amount}
    same = device | {"capacity": capacity | {"memory": memory}}
    return is_as_wanted(wanted, stored | {"spec": stored.get("spec", {}) | {"devices": [same]}})


def dropped_gates(wanted: Slice, stored: Slice) -> Sequence[str]:
    """Name the feature gates whose fields the API server left out of what it stored."""
    kept, device = _device_in(stored), _device_in(wanted)
    gates = []
    if not kept.get("allowMultipleAllocations") or "requestPolicy" not in _memory(kept):
        gates.append(_CONSUMABLE_CAPACITY)
    if device.get("taints") and not kept.get("taints"):
        gates.append(_DEVICE_TAINTS)
    return gates


def capacity_bytes(stored: Slice | None) -> int | None:
    """Read a stored slice's memory; None where there is none that can be read."""
    try:
        return parse_quantity(_memory(_device_in(stored)).get("value"))
    except ValueError:
        return None


def _device(offer: Offer, traits: Traits, before: Slice, fault_effect: str) -> Slice:
    device: Slice = {
        "name": DEVICE,
        "allowMultipleAllocations": True,
        "attributes": dict(_attributes(offer, traits)),
        "capacity": {"memory": _memory_capacity(offer, before)},
    }
    if traits.most_containers is not None:
        # Each claim takes one: the scheduler then counts what the TEE would refuse.
        device["capacity"]["containers"] = {
            "value": str(traits.most_containers),
            "requestPolicy": {"default": "1", "validRange": {"min": "1", "max": "1"}},
        }
    if taints := list(_taints(offer, before, fault_effect)):
        device["taints"] = taints
    return device


def _memory_capacity(offer: Offer, before: Slice) -> Slice:
    unit = format_quantity(offer.unit_bytes)
    units = offer.units
    if offer.is_short or not offer.is_known:
        units = max(LEAST_UNITS, _whole_units(before, offer.unit_bytes))
    valid_range = {"min": unit, "step": unit}
    if units > MOST_AMOUNTS:
        # No CDI device stands for more.
        valid_range["max"] = format_quantity(MOST_AMOUNTS * offer.unit_bytes)
    return {
        "value": format_quantity(units * offer.unit_bytes),
        "requestPolicy": {"default": unit, "validRange": valid_range},
    }


def _whole_units(device: Slice, unit_bytes: int) -> int:
    try:
        return parse_quantity(_memory(device).get("value")) // unit_bytes
    except ValueError:
        return 0


def _taints(offer: Offer, before: Slice, fault_effect: str) -> Iterator[Slice]:
    if offer.cause is not None:
        yield _taint(FAULT_TAINT, offer.cause.kind, fault_effect, before)
    if offer.is_short:
        yield _taint(SHORTAGE_TAINT, "", NO_SCHEDULE, before)


def _taint(key: str, value: str, effect: str, before: Slice) -> Slice:
    """Make a taint; one that stands keeps its time, which the API would set anew."""
    taint = {"key": key, "effect": effect} | ({"value": value} if value else {})
    for each in before.get("taints") or ():
        if (each.get("key"), each.get("effect")) == (key, effect) and each.get("timeAdded"):
            taint["timeAdded"] = each["timeAdded"]
    return taint


def _attributes(offer: Offer, traits: Traits) -> Iterator[tuple[str, Slice]]:
    yield "unit", {"int": offer.unit_bytes}
    yield "enforced", {"bool": traits.enforced}
    if traits.flavour:
        yield "flavour", {"string": traits.flavour[:_LONGEST_STRING]}
    for part, version in sorted(traits.versions.items()):
        words = re.split("[^A-Za-z0-9]+", f"{part}-version")
        name = "".join([words[0], *(word.capitalize() for word in words[1:])])
        is_semver = len(version) <= _LONGEST_STRING and _SEMVER.fullmatch(version)
        if re.fullmatch("[A-Za-z][A-Za-z0-9]*", name) and len(name) <= _LONGEST_IDENTIFIER:
            kind = "version" if is_semver else "string"
            yield name, {kind: version[:_LONGEST_STRING]}


def _comparable(stored: Slice) -> Slice:
    """What we set of a slice, with quantities as numbers and without times."""
    spec = dict(stored.get("spec") or {})
    spec["devices"] = [_comparable_device(device) for device in spec.get("devices") or ()]
    return {"spec": spec, "owners": (stored.get("metadata") or {}).get("ownerReferences")}


def _comparable_device(device: Slice) -> Slice:
    taints = [
        {key: value for key, value in taint.items() if key != "timeAdded"}
        for taint in device.get("taints") or ()
    ]
    return device | {"taints": taints, "capacity": _as_numbers(device.get("capacity"))}


def _as_numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _as_numbers(each) for key, each in value.items()}
    try:
        return parse_quantity(value)
    except ValueError:
        return value


def _device_in(stored: Slice | None) -> Slice:
    devices = ((stored or {}).get("spec") or {}).get("devices") or ()
    return next((each for each in devices if each.get("name") == DEVICE), {})


def _memory(device: Slice) -> Slice:
    memory: Slice = (device.get("capacity") or {}).get("memory") or {}
    return memory
