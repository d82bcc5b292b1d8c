"""The kubelet's checkpoint: both of its forms are read, and anything else is nothing."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.commands.doctor.checkpoint import FILE_NAME, recorded_allocations
from teeplugin.commands.doctor.evidence import RecordedAllocation
from teeplugin.policy.device_list import IdSet

RESOURCE = "huawei.com/tee-ram"


def entry(ids: Any, unit_bytes: int | None = 524288, resource: str = RESOURCE) -> dict[str, Any]:
    envs = {} if unit_bytes is None else {"TEE_RAM_UNIT_BYTES": str(unit_bytes)}
    answer = bytes(v1beta1.ContainerAllocateResponse(envs=envs))
    return {
        "PodUID": "e2a1",
        "ContainerName": "ca",
        "ResourceName": resource,
        "DeviceIDs": ids,
        "AllocResp": base64.b64encode(answer).decode(),
    }


def checkpoint(directory: Path, *entries: dict[str, Any]) -> None:
    data = {"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 1}
    (directory / FILE_NAME).write_text(json.dumps(data))


@pytest.mark.parametrize("ids", [{"-1": ["0", "1"], "0": ["2"]}, ["0", "1", "2"]])
def test_units_are_counted_by_the_size_their_container_was_told(tmp_path: Path, ids: Any) -> None:
    checkpoint(tmp_path, entry(ids), entry({"-1": ["3"]}, 1048576))
    assert recorded_allocations(tmp_path, RESOURCE) == [
        RecordedAllocation("ca", IdSet.first(3), 524288),
        RecordedAllocation("ca", IdSet.of([3]), 1048576),
    ]


def test_others_and_those_that_were_told_nothing_are_not_counted(tmp_path: Path) -> None:
    others = entry({"-1": ["0"]}, resource="example.com/gpu")
    checkpoint(tmp_path, others, entry({"-1": ["0"]}, unit_bytes=None))
    assert not recorded_allocations(tmp_path, RESOURCE)


def test_no_checkpoint_and_one_without_entries_are_nothing(tmp_path: Path) -> None:
    assert not recorded_allocations(tmp_path, RESOURCE)
    (tmp_path / FILE_NAME).write_text('{"Data":{"PodDeviceEntries":null},"Checksum":0}')
    assert not recorded_allocations(tmp_path, RESOURCE)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        json.dumps({"Data": {"PodDeviceEntries": [entry(["0"]) | {"AllocResp": "Cg=="}]}}),
    ],
    ids=["too deep for json", "no message"],
)
def test_what_the_parsers_fail_on_in_their_own_ways_is_nothing(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert not recorded_allocations(tmp_path, RESOURCE)


def test_a_link_or_a_pipe_is_nothing_and_is_not_waited_for(tmp_path: Path) -> None:
    checkpoint(tmp_path, entry(["0"]))
    (tmp_path / FILE_NAME).rename(tmp_path / "elsewhere")
    (tmp_path / FILE_NAME).symlink_to("elsewhere")
    assert not recorded_allocations(tmp_path, RESOURCE)
    (tmp_path / FILE_NAME).unlink()
    os.mkfifo(tmp_path / FILE_NAME)
    assert not recorded_allocations(tmp_path, RESOURCE)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(
    content=st.binary()
    | _JSON.map(lambda value: json.dumps({"Data": {"PodDeviceEntries": value}}).encode())
    | _JSON.map(
        lambda value: json.dumps(
            {"Data": {"PodDeviceEntries": [entry(value) | {"AllocResp": value}, entry(value)]}}
        ).encode()
    )
)
def test_anything_else_is_nothing(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.getbasetemp()
    (directory / FILE_NAME).write_bytes(content)
    recorded_allocations(directory, RESOURCE)
