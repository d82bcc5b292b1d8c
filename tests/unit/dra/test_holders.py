"""Claims in PodResources become units with ids, which stay as long as the claim does."""

import pytest

from teeplugin.api.podresources import v1
from teeplugin.dra.holders import ClaimHolders
from teeplugin.dra.resources import DRIVER
from teeplugin.policy import cdi
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import IdSet
from tests.dra_claims import reference


def pod(
    name: str, *containers: tuple[str, dict[str, int]], driver: str = DRIVER
) -> v1.PodResources:
    """A pod whose containers use these claims, each with so many units."""
    return v1.PodResources(
        name=name,
        namespace="default",
        containers=[
            v1.ContainerResources(
                name=container,
                dynamic_resources=[
                    v1.DynamicResource(
                        claim_name=claim,
                        claim_namespace="default",
                        claim_resources=[
                            v1.ClaimResource(
                                driver_name=driver,
                                cdi_devices=[v1.CdiDevice(name=cdi.device(units))],
                            )
                        ],
                    )
                    for claim, units in claims.items()
                ],
            )
            for container, claims in containers
        ],
    )


def read(holders: ClaimHolders, *pods: v1.PodResources) -> dict[str, IdSet]:
    data = bytes(v1.ListPodResourcesResponse(pod_resources=list(pods)))
    found = [holder for holder in holders.read(data) if isinstance(holder, Holder)]
    return {f"{holder.pod}/{holder.container}": holder.ids for holder in found}


def test_each_claim_has_ids_of_its_own_and_a_shared_one_counts_once() -> None:
    found = read(
        ClaimHolders(),
        pod("one", ("ca", {"a": 10}), ("second", {"a": 10, "b": 2})),
        pod("two", ("ca", {"c": 3})),
    )
    assert {name: len(ids) for name, ids in found.items()} == {
        "one/ca": 10,
        "one/second": 12,
        "two/ca": 3,
    }
    assert len(found["one/ca"] | found["one/second"] | found["two/ca"]) == 15


def test_ids_stay_while_others_come_and_go() -> None:
    holders = ClaimHolders()
    first, second = pod("one", ("ca", {"a": 4})), pod("two", ("ca", {"b": 4}))
    before = read(holders, first, second)
    assert read(holders, second) == {"two/ca": before["two/ca"]}
    again = read(holders, second, pod("three", ("ca", {"c": 6})))
    assert again["two/ca"] == before["two/ca"]
    assert not again["two/ca"] & again["three/ca"]
    # The lowest that are free.
    assert IdSet.first(4) - again["three/ca"] == IdSet()


def test_a_prepared_claim_keeps_its_ids_until_it_is_unprepared() -> None:
    holders = ClaimHolders()
    ids = holders.prepare(reference("a"), 4)
    assert read(holders, pod("two", ("ca", {"b": 4})))["two/ca"] & ids == IdSet()
    assert read(holders, pod("one", ("ca", {"a": 4})))["one/ca"] == ids
    assert holders.prepare(reference("a"), 4) == ids
    holders.release(reference("a"))
    assert read(holders) == {}
    assert holders.prepare(reference("c"), 2) == IdSet.first(2)


def test_other_drivers_and_other_devices_are_none_of_ours() -> None:
    assert read(ClaimHolders(), pod("one", ("ca", {"a": 4}), driver="gpu.example.com")) == {}


def test_what_is_cut_off_is_told() -> None:
    data = bytes(v1.ListPodResourcesResponse(pod_resources=[pod("one", ("ca", {"a": 4}))]))
    with pytest.raises(ValueError, match="cut off"):
        list(ClaimHolders().read(data[:-1]))
