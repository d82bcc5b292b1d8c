"""What an allocated claim gives, and what is refused, each in one line with value, rule and fix."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.dra.claims import ClaimError, Prepared, prepared_of, runtime_problem
from teeplugin.dra.quantity import format_quantity
from teeplugin.policy import cdi
from tests.dra_claims import POOL, claim, reference, result

UNIT = 512 * 1024
ONE = reference("one")


def prepared(*results: dict[str, Any]) -> Prepared:
    return prepared_of(claim(ONE.uid, *results), ONE, POOL, UNIT)


def test_the_results_of_ours_are_summed() -> None:
    others = result("1Gi", driver="gpu.example.com")
    assert prepared(result("5Mi", request="a"), others, result("512Ki", request="b/sub")) == (
        Prepared(11, ("a", "b"), "s-1")
    )


@given(st.integers(0, cdi.MOST_AMOUNTS * UNIT))
def test_units_are_whole_and_never_too_few(size_bytes: int) -> None:
    units = prepared(result(format_quantity(size_bytes))).units
    assert 1 <= units <= cdi.MOST_AMOUNTS
    assert (units - 1) * UNIT < max(size_bytes, 1) <= units * UNIT
    assert cdi.units_of(cdi.device(units)) == units


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([result(driver="gpu.example.com")], "no allocation of tee-ram.huawei.com"),
        ([result(pool="node-2")], "allocated on node-2, not on node-1"),
        ([result(None)], "feature gate DRAConsumableCapacity"),
        ([result("much")], "'much' is no quantity"),
        ([result(adminAccess=True)], "remove adminAccess"),
        ([result("2Gi")], "the claim has 4096 units: a container gets at most 2048"),
    ],
)
def test_what_cannot_be_prepared_is_told(results: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ClaimError, match=words):
        prepared(*results)


@pytest.mark.parametrize("found", [{}, {"metadata": {"uid": "other"}}])
def test_a_claim_of_another_uid_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(ClaimError, match="not uid-one: it was deleted and created again"):
        prepared_of(found, ONE, POOL, UNIT)


def test_a_claim_without_a_status_is_not_allocated() -> None:
    with pytest.raises(ClaimError, match="wait for the scheduler"):
        prepared_of({"metadata": {"uid": ONE.uid}}, ONE, POOL, UNIT)


@pytest.mark.parametrize("name", ["gpu.example.com/x=3", f"{cdi.KIND}=", f"{cdi.KIND}=x", "=5", ""])
def test_devices_of_another_kind_have_no_units(name: str) -> None:
    assert cdi.units_of(name) is None


@pytest.mark.parametrize(
    "version", ["containerd://2.4.2", "containerd://v2.0.0", "cri-o://1.36.1", "cri-o://1.23.0"]
)
def test_a_runtime_with_cdi_is_taken(version: str) -> None:
    assert runtime_problem(version) is None


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("containerd://1.6.20~ds1", "must be containerd 2.0 or newer"),
        ("containerd://1.7.24", "must be containerd 2.0 or newer"),
        ("cri-o://1.22.5", "must be cri-o 1.23 or newer"),
        ("docker://27.0.1", "must be containerd or CRI-O"),
        ("", "must be containerd or CRI-O"),
        (None, "the node's runtime is None"),
    ],
)
def test_a_runtime_that_may_leave_the_devices_out_is_refused(version: object, words: str) -> None:
    assert words in str(runtime_problem(version))
