"""PodResources' bytes: read as the slow parser reads them, and never half."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.api.podresources import v1
from teeplugin.kubelet.pod_resources_answer import holders_in
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import IdSet

RESOURCE = "huawei.com/tee-ram"

_NAMES = st.text(max_size=150)
_IDS = st.lists(st.integers(0, 226_599).map(str), max_size=20)
_DEVICES = st.builds(
    v1.ContainerDevices,
    resource_name=st.sampled_from([RESOURCE, "example.com/gpu", ""]),
    device_ids=_IDS,
    topology=st.none() | st.builds(v1.TopologyInfo),
)
_CONTAINERS = st.builds(
    v1.ContainerResources,
    name=_NAMES,
    devices=st.lists(_DEVICES, max_size=3),
    cpu_ids=st.lists(st.integers(0, 300), max_size=5),
)
_PODS = st.builds(
    v1.PodResources,
    name=_NAMES,
    namespace=_NAMES,
    containers=st.lists(_CONTAINERS, max_size=3),
)
_ANSWERS = st.lists(_PODS, max_size=4).map(v1.ListPodResourcesResponse)


def parsed(data: bytes) -> list[Holder]:
    return [holder for holder in holders_in(data, RESOURCE) if holder is not None]


def expected(answer: v1.ListPodResourcesResponse) -> list[Holder]:
    holders = []
    for pod in answer.pod_resources:
        for container in pod.containers:
            ids = IdSet.of(
                int(text)
                for devices in container.devices
                if devices.resource_name == RESOURCE
                for text in devices.device_ids
            )
            if ids:
                holders.append(Holder(pod.namespace, pod.name, container.name, ids))
    return holders


@given(_ANSWERS)
def test_it_reads_what_the_generated_parser_reads(answer: v1.ListPodResourcesResponse) -> None:
    assert parsed(bytes(answer)) == expected(answer)


@given(_ANSWERS, st.data())
def test_what_is_cut_off_is_refused_or_lacks_whole_pods(
    answer: v1.ListPodResourcesResponse, data: st.DataObject
) -> None:
    whole = bytes(answer)
    end = data.draw(st.integers(0, len(whole)))
    try:
        found = parsed(whole[:end])
    except ValueError:
        return
    assert found == expected(answer)[: len(found)]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parsed(data)
    except ValueError:
        return


@pytest.mark.parametrize("text", ["", "00", "01", "-1", "+1", "1 ", "226600", "9" * 30, "٣", "a"])
def test_ids_of_another_form_are_no_units(text: str) -> None:
    devices = v1.ContainerDevices(resource_name=RESOURCE, device_ids=[text, "5"])
    pod = v1.PodResources(containers=[v1.ContainerResources(devices=[devices])])
    assert parsed(bytes(v1.ListPodResourcesResponse([pod]))) == [Holder("", "", "", IdSet.of([5]))]


@pytest.mark.parametrize(
    "data",
    [b"\x0a", b"\x0a\x05abc", b"\x0b", b"\xff" * 11, b"\x0a\x03\x0a\x01\xff", b"\x09\x00"],
    ids=["no length", "cut off", "group", "endless number", "no UTF-8", "short number"],
)
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"byte|number|decode"):
        parsed(data)
