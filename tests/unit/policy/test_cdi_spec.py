"""The CDI specification: what it says, that runtimes take it, and when it doesn't fit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.policy import cdi, cdi_spec
from teeplugin.policy.cdi_spec import Hook, mismatch, specification, too_many_units
from teeplugin_backends.base import ContainerAccess, Device, Mount
from tests.unit.policy.cdi_schema import check

RESOURCE, UNIT = "huawei.com/tee-ram", 512 * 1024
ITRUSTEE = ContainerAccess(
    mounts=(Mount("/var/itrustee/teecd", "/var/itrustee/teecd", read_only=True),),
    devices=(Device("/dev/teelog", "/dev/log", "rw"),),
    environment={"TEE": "itrustee"},
)

ACCESSES = st.builds(
    ContainerAccess,
    mounts=st.tuples() | st.just(ITRUSTEE.mounts),
    devices=st.tuples() | st.just(ITRUSTEE.devices),
    environment=st.just({}) | st.just({"TEE": "itrustee"}),
)
HOOKS = st.none() | st.just(Hook()) | st.just(Hook("/opt/limit", ("--secure-storage",)))


def spec(units: int = 10, unit_bytes: int = UNIT, hook: Hook | None = None) -> dict[str, Any]:
    return specification(ITRUSTEE, units, unit_bytes, RESOURCE, hook or Hook())


def edits_of(document: dict[str, Any], units: int) -> dict[str, Any]:
    [found] = [each for each in document["devices"] if each["name"] == str(units)]
    edits: dict[str, Any] = found["containerEdits"]
    return edits


@given(ACCESSES, st.integers(1, 40), st.integers(1, 1 << 30), HOOKS)
def test_every_specification_is_valid_and_fits_its_own_settings(
    access: ContainerAccess, units: int, unit_kib: int, hook: Hook | None
) -> None:
    document = specification(access, units, unit_kib * 1024, RESOURCE, hook)
    check(document)
    again = json.loads(json.dumps(document))
    assert again == document
    assert mismatch(again, units, unit_kib * 1024, limited=hook is not None) is None


def test_a_device_has_its_amount_in_its_variables_and_in_the_hooks_arguments_only() -> None:
    edits = edits_of(spec(), 10)
    assert "TEE_RAM_UNITS=10" in edits["env"]
    assert "TEE_RAM_BYTES_HUAWEI_COM_TEE_RAM=5242880" in edits["env"]
    [hook] = edits["hooks"]
    assert hook["hookName"] == "createRuntime"
    assert hook["args"] == ["tee-limit", "set", "--memory=5120K"]
    assert hook["env"] == ["PATH=/usr/bin:/bin"]


def test_what_all_containers_get_stands_once() -> None:
    document = spec(hook=Hook("/opt/limit", ("--secure-storage",)))
    common = document["containerEdits"]
    assert common["mounts"][0]["options"] == ["bind", "nosuid", "nodev", "ro"]
    assert common["deviceNodes"] == [
        {"path": "/dev/log", "hostPath": "/dev/teelog", "permissions": "rw"}
    ]
    assert common["env"] == ["TEE=itrustee"]
    assert common["hooks"][0]["args"] == ["limit", "clean", "--secure-storage"]


def test_without_a_hook_nothing_is_limited() -> None:
    document = specification(ITRUSTEE, 2, UNIT, RESOURCE)
    assert "hooks" not in json.dumps(document)
    problem = mismatch(document, 2, UNIT, limited=True)
    assert problem is not None
    assert problem.problem == "limits 1 units to none: must be 512 KiB"


def test_the_longest_specification_is_small_enough_to_be_read_at_each_container() -> None:
    document = spec(cdi.MOST_AMOUNTS)
    check(document)
    assert len(json.dumps(document)) < 1_000_000
    assert cdi.device(7) == f"{document['kind']}=7"


@pytest.mark.parametrize("units", [0, -1, cdi.MOST_AMOUNTS + 1])
def test_other_amounts_are_refused(units: int) -> None:
    with pytest.raises(ValueError, match="must be 1 … 2048"):
        spec(units)


def test_a_unit_that_is_no_whole_number_of_kib_is_refused() -> None:
    with pytest.raises(ValueError, match="must be whole KiB"):
        spec(unit_bytes=UNIT + 1)


def test_an_amount_that_is_missing_is_named() -> None:
    found = mismatch(spec(10), 11, UNIT)
    assert found is not None
    assert found.problem == (
        "has no device for 11 units of the 11 that pods can ask for: it has 10 amounts"
    )
    assert "tee-device-plugin cdi" in found.fix


def test_another_unit_size_is_named() -> None:
    found = mismatch(spec(2), 2, 2 * UNIT)
    assert found is not None
    assert found.problem == "has units of 512 KiB, the settings have 1 MiB"


def test_a_limit_that_is_not_the_amounts_is_found() -> None:
    document = spec(2)
    edits_of(document, 2)["hooks"][0]["args"][2] = "--memory=512K"
    found = mismatch(document, 2, UNIT)
    assert found is not None
    assert found.problem == "limits 2 units to 512 KiB: must be 1024 KiB"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "devices", "name", "env"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_document_is_judged_in_words(content: object) -> None:
    for document in (
        content,
        {"kind": cdi.KIND, "devices": content},
        {"kind": cdi.KIND, "devices": [{"name": "1", "containerEdits": content}]},
        {"kind": cdi.KIND, "devices": [{"name": "1", "containerEdits": {"env": content}}]},
        {"kind": cdi.KIND, "devices": [{"name": "1", "containerEdits": {"hooks": content}}]},
    ):
        found = mismatch(document, 1, UNIT)
        assert found is not None
        assert found.fix


def test_a_unit_size_that_is_no_number_is_quoted() -> None:
    document = spec(1)
    edits_of(document, 1)["env"] = ["TEE_RAM_UNIT_BYTES=1e9"]
    found = mismatch(document, 1, UNIT)
    assert found is not None
    assert found.problem == "has units of '1e9', the settings have 512 KiB"


def test_more_units_than_amounts_are_told_with_a_precision_that_fits() -> None:
    assert too_many_units(cdi.MOST_AMOUNTS * UNIT, UNIT) is None
    found = too_many_units((cdi.MOST_AMOUNTS + 1) * UNIT, UNIT)
    assert found is not None
    assert "makes 2049 units" in found.problem
    assert "-precision 1024" in found.fix


def test_the_hooks_path_is_absolute() -> None:
    assert cdi_spec.HOOK_PATH.startswith("/")
