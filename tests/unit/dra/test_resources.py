"""The slice that a decision makes: legal for the API, true, stable where it is applied again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.dra.quantity import format_quantity, parse_quantity
from teeplugin.dra.resources import (
    DEVICE,
    DRIVER,
    FAULT_TAINT,
    LEAST_UNITS,
    NO_EXECUTE,
    NO_SCHEDULE,
    SHORTAGE_TAINT,
    Node,
    Offer,
    Traits,
    capacity_bytes,
    dropped_gates,
    is_as_wanted,
    offer_of,
    only_capacity_differs,
    resource_slice,
    slice_name,
    with_probe,
)
from teeplugin.policy.cdi import MOST_AMOUNTS
from teeplugin.policy.decide import Cause, Decision, Holdings, PolicySettings, decide
from teeplugin.policy.device_list import IdSet
from teeplugin_backends.base import TeeMemory, Unreachable

UNIT = 512 * 1024
NODE = Node("node-1", "0f3e")
FAULT = Cause("unreachable", "no daemon", "start it")
TRAITS = Traits(
    "itrustee", versions={"tee-os": "iTrustee 2.1", "plugin": "1.2.3"}, most_containers=63
)

offers = st.builds(
    Offer,
    st.integers(0, 226_600),
    st.integers(1, 64).map(lambda units: units * UNIT),
    st.sampled_from([None, FAULT]),
    is_known=st.just(True),
)


def wanted(offer: Offer, stored: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    return resource_slice(offer, NODE, TRAITS, stored, **how)


def device(made: dict[str, Any]) -> dict[str, Any]:
    (only,) = made["spec"]["devices"]
    found: dict[str, Any] = only
    return found


def stored_by_api(made: dict[str, Any]) -> dict[str, Any]:
    """As the API server gives it back: with a time at each taint, and metadata of its own."""
    copy: dict[str, Any] = json.loads(json.dumps(made))
    copy["metadata"] |= {"uid": "7a", "resourceVersion": "5", "managedFields": [{}]}
    for taint in device(copy).get("taints", ()):
        taint.setdefault("timeAdded", "2026-11-29T12:00:00Z")
    return copy


@given(st.integers(0, 2**60))
def test_a_quantity_is_read_as_it_was_written(size_bytes: int) -> None:
    assert parse_quantity(format_quantity(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("5Mi", 5 * 2**20),
        ("1536Ki", 1536 * 1024),
        ("2M", 2_000_000),
        ("1e3", 1000),
        ("12E-1", 2),
        ("1.5Gi", 3 * 2**29),
        (".5Ki", 512),
        ("1500m", 2),
        ("2E", 2 * 10**18),
        ("0", 0),
    ],
)
def test_every_form_of_a_quantity_is_read(text: str, size_bytes: int) -> None:
    assert parse_quantity(text) == size_bytes


@pytest.mark.parametrize("text", ["", "Mi", "-1", "5MB", "1e3Mi", "٣", None, 5, "1" * 101])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        parse_quantity(text)


@given(offers)
def test_the_api_takes_every_slice(offer: Offer) -> None:
    """The rules of ValidateResourceSlice for a capacity with a valid range."""
    memory = device(wanted(offer))["capacity"]["memory"]
    value = parse_quantity(memory["value"])
    policy = memory["requestPolicy"]
    limits = {key: parse_quantity(each) for key, each in policy["validRange"].items()}
    assert limits["min"] == limits["step"] == parse_quantity(policy["default"]) == offer.unit_bytes
    assert limits["min"] + limits["step"] <= value
    most = limits.get("max", value)
    assert most <= value
    assert (most - limits["min"]) % limits["step"] == 0
    # Every amount that a claim may have is a device of the CDI specification.
    assert most // offer.unit_bytes <= MOST_AMOUNTS


@given(offers, offers)
def test_what_was_stored_is_as_wanted_and_another_offer_is_not(offer: Offer, other: Offer) -> None:
    stored = stored_by_api(wanted(offer))
    assert is_as_wanted(wanted(offer, stored), stored)
    assert not dropped_gates(wanted(offer, stored), stored)
    if not other.is_short and other != offer:
        assert not is_as_wanted(wanted(other, stored), stored)


@given(offers, st.sampled_from([NO_SCHEDULE, NO_EXECUTE]))
def test_a_taint_that_stands_keeps_its_time(offer: Offer, effect: str) -> None:
    stored = stored_by_api(wanted(offer, fault_effect=effect))
    again = wanted(offer, stored, fault_effect=effect)
    assert device(again).get("taints") == device(stored).get("taints")
    recovered = wanted(Offer(max(offer.units, LEAST_UNITS), offer.unit_bytes), stored)
    assert "taints" not in device(recovered)


def test_another_effect_is_another_taint_whose_time_begins_anew() -> None:
    stored = stored_by_api(wanted(Offer(10, UNIT, FAULT)))
    (taint,) = device(wanted(Offer(10, UNIT, FAULT), stored, fault_effect=NO_EXECUTE))["taints"]
    assert taint == {"key": FAULT_TAINT, "value": "unreachable", "effect": NO_EXECUTE}


def test_a_fault_taints_with_its_cause_and_leaves_the_capacity() -> None:
    made = device(wanted(Offer(10, UNIT, FAULT)))
    assert made["capacity"]["memory"]["value"] == "5Mi"
    (taint,) = made["taints"]
    assert taint == {"key": FAULT_TAINT, "value": "unreachable", "effect": NO_SCHEDULE}


@pytest.mark.parametrize("units", [0, 1])
def test_near_zero_the_last_legal_capacity_stays_and_a_taint_says_so(units: int) -> None:
    stored = stored_by_api(wanted(Offer(7, UNIT)))
    made = device(wanted(Offer(units, UNIT), stored))
    assert made["capacity"]["memory"]["value"] == "3584Ki"
    assert made["taints"] == [{"key": SHORTAGE_TAINT, "effect": NO_SCHEDULE}]
    first = device(wanted(Offer(units, UNIT)))
    assert first["capacity"]["memory"]["value"] == "1Mi"


def test_the_device_has_what_claims_select_by() -> None:
    made = device(wanted(Offer(10, UNIT)))
    assert made["name"] == DEVICE
    assert made["allowMultipleAllocations"] is True
    assert made["attributes"] == {
        "unit": {"int": UNIT},
        "enforced": {"bool": False},
        "flavour": {"string": "itrustee"},
        "teeOsVersion": {"string": "iTrustee 2.1"},
        "pluginVersion": {"version": "1.2.3"},
    }
    assert made["capacity"]["containers"]["value"] == "63"
    without = device(resource_slice(Offer(10, UNIT), NODE, Traits()))
    assert "containers" not in without["capacity"]


@given(st.dictionaries(st.text(max_size=40), st.text(max_size=80), max_size=5))
def test_attributes_have_names_and_values_that_the_api_takes(versions: dict[str, str]) -> None:
    made = device(resource_slice(Offer(10, UNIT), NODE, Traits(versions=versions)))
    for name, attribute in made["attributes"].items():
        assert name.isidentifier()
        assert name.isascii()
        assert len(name) <= 32
        assert all(len(str(value)) <= 64 for value in attribute.values())


def test_the_slice_goes_with_its_node() -> None:
    made = wanted(Offer(10, UNIT))
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "0f3e"}
    ]
    assert made["spec"]["driver"] == DRIVER
    assert made["spec"]["nodeName"] == made["spec"]["pool"]["name"] == "node-1"


@given(st.from_regex("[a-z0-9.-]{1,253}", fullmatch=True))
def test_a_slices_name_is_short_enough(node: str) -> None:
    assert len(slice_name(node)) <= 253
    assert slice_name(node).endswith(DRIVER)


def test_dropped_fields_name_their_gate() -> None:
    probe = with_probe(wanted(Offer(10, UNIT)))
    stored = stored_by_api(probe)
    assert dropped_gates(probe, stored) == []
    del device(stored)["taints"]
    assert dropped_gates(probe, stored) == ["DRADeviceTaints"]
    del device(stored)["allowMultipleAllocations"]
    assert dropped_gates(probe, stored) == ["DRAConsumableCapacity", "DRADeviceTaints"]
    unpoliced = stored_by_api(wanted(Offer(10, UNIT)))
    del device(unpoliced)["capacity"]["memory"]["requestPolicy"]
    assert dropped_gates(wanted(Offer(10, UNIT)), unpoliced) == ["DRAConsumableCapacity"]


def test_a_change_by_hand_is_seen() -> None:
    made = wanted(Offer(10, UNIT))
    changes: tuple[dict[str, Any], ...] = (
        {"attributes": {}},
        {"name": "another"},
        {"taints": [{"key": "by.hand/x", "effect": NO_SCHEDULE}]},
    )
    for change in changes:
        stored = stored_by_api(made)
        device(stored).update(change)
        assert not is_as_wanted(made, stored)
        assert not only_capacity_differs(made, stored)
    assert not is_as_wanted(made, None)
    assert not is_as_wanted(made, {})


def test_another_amount_alone_may_wait() -> None:
    stored = stored_by_api(wanted(Offer(10, UNIT)))
    assert capacity_bytes(stored) == 10 * UNIT
    assert only_capacity_differs(wanted(Offer(9, UNIT), stored), stored)
    assert not only_capacity_differs(wanted(Offer(9, UNIT, FAULT), stored), stored)
    assert not only_capacity_differs(wanted(Offer(9, UNIT)), None)
    assert capacity_bytes(None) is None


@given(st.integers(4, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_an_offer_is_never_below_what_is_allocated_nor_above_all(
    total: int, free: int, allocated: int
) -> None:
    free = min(free, total)
    memory = TeeMemory(total * UNIT, free * UNIT)
    held = IdSet.first(allocated)
    policy = PolicySettings(UNIT, 0, 60)
    decision = decide(memory, None, Decision(), policy, Holdings(held, held))
    offer = offer_of(decision, UNIT, allocated)
    assert offer is not None
    assert allocated <= offer.units <= max(total, allocated)
    faulty = decide(Unreachable("gone"), None, decision, policy, Holdings(held, held))
    assert offer_of(faulty, UNIT, allocated) == offer._replace(cause=faulty.cause)


def test_there_is_no_offer_before_the_first_reading() -> None:
    assert offer_of(Decision(), UNIT, 0) is None


def test_a_fault_before_the_first_reading_taints_what_is_stored() -> None:
    decision = decide(Unreachable("gone"), None, Decision(), PolicySettings(UNIT, 0, 60))
    offer = offer_of(decision, UNIT, 3)
    assert offer == Offer(3, UNIT, decision.cause, is_known=False)
    stored = stored_by_api(wanted(Offer(10, UNIT)))
    made = device(wanted(offer, stored))
    assert made["capacity"]["memory"]["value"] == "5Mi"
    assert [taint["key"] for taint in made["taints"]] == [FAULT_TAINT]
