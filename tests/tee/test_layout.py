"""The ctypes layouts are the C compiler's, and the wrong one of the two is found out."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from teeplugin_backends.libteec import abi, client, process
from tests.needs import need
from tests.tee.asking import (
    GIB,
    MIB,
    Tee,
    made_tee,  # noqa: F401 - the fixture `tee`
)
from tests.tee.build import SAMPLE_UUID, layout

TOOLS = {"x86_64": ("compiler",), "aarch64": ("compiler", "cross compiler", "emulator")}
OWN_STRUCTURES = {
    "ListNode": abi.ListNode,
    "TEEC_Result": ctypes.c_uint32,
    "TEEC_UUID": abi.UUID,
    "TEEC_Value": abi.Value,
    "statistics_56": abi.OpteeStatistics56,
    "statistics_64": abi.OpteeStatistics64,
    "ta_memory": abi.MemoryReply,
}
OWN_NAMES = {"TEEC_PARAM_NUM": "PARAMETERS"}


def structure(vendor: str, name: str) -> type[ctypes.Structure | ctypes.Union]:
    found = OWN_STRUCTURES.get(name) or getattr(
        abi, vendor.capitalize() + name.removeprefix("TEEC_")
    )
    assert isinstance(found, type)
    return found


def offset(of: type, path: str) -> int:
    """Add up the offsets on the way to a member of a member."""
    member, _, rest = path.partition(".")
    inside = offset(dict(of._fields_)[member], rest) if rest else 0  # type: ignore[attr-defined]
    return int(getattr(of, member).offset) + inside


def ours(vendor: str, line: str) -> int:
    """What abi.py has for a line of the C program."""
    what, name = line.split()
    match what:
        case "sizeof":
            return ctypes.sizeof(structure(vendor, name))
        case "offsetof":
            of, _, path = name.partition(".")
            return offset(structure(vendor, of), path)
        case "const":
            return int(getattr(abi, OWN_NAMES.get(name, name.removeprefix("TEEC_"))))
    raise AssertionError(line)


@pytest.mark.parametrize("arch", TOOLS)
@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
@pytest.mark.timeout(300)
def test_every_size_offset_and_constant_is_the_compilers(
    vendor: str, arch: str, tee_build_root: Path
) -> None:
    need(*TOOLS[arch])
    compiled = layout(vendor, arch, tee_build_root)
    assert {line: ours(vendor, line) for line in compiled} == compiled


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
@pytest.mark.timeout(300)
def test_no_field_of_ours_goes_unchecked(vendor: str, tee_build_root: Path) -> None:
    need(*TOOLS["x86_64"])
    compiled = layout(vendor, "x86_64", tee_build_root)
    names = {line.split()[1] for line in compiled if line.startswith("sizeof TEEC_")}
    for name in names - {"TEEC_Result"}:
        checked = {line.split(".")[1] for line in compiled if line.startswith(f"offsetof {name}.")}
        assert checked == {field[0] for field in structure(vendor, name)._fields_}
    assert {"TEEC_Context", "TEEC_Session", "TEEC_Operation", "TEEC_Parameter"} <= names


# ---- the layouts


class Asked:
    """The library in this very process: OP-TEE's asks nobody who they are.

    Unless it is `typed`, ctypes lets structures of the other vendor's through.
    """

    def __init__(self, tee: Tee, monkeypatch: pytest.MonkeyPatch, *, typed: bool = False) -> None:
        for name in ("TEST_TEE_STATE", "TEST_TEE_LOG"):
            monkeypatch.setenv(name, process._ENVIRONMENT[name])
        dll = ctypes.CDLL(str(tee.built.optee))
        self.library = client.Library(dll, "optee", lambda _: None)
        untyped: Any = {} if typed else self.library._functions
        for function in untyped.values():
            function.argtypes = None
        self.ta_path = os.fsencode(tee.directory / "ours.sec")

    def the_other_vendors_way(self) -> tuple[int, int]:
        """Ask our trusted application, behind OP-TEE, with iTrustee's structures."""

        class Foreign(client.ItrusteeQuery):
            login = client.OpteeQuery.login

        return client.ask(self.library, Foreign(SAMPLE_UUID, self.ta_path))


def test_the_other_vendors_structures_dont_get_into_the_library(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    tee.play()
    with pytest.raises(ctypes.ArgumentError, match="OpteeContext"):
        Asked(tee, monkeypatch, typed=True).the_other_vendors_way()
    assert "open" not in tee.calls()


def test_an_operation_laid_out_for_the_other_vendor_is_refused_by_a_strict_library(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    tee.play()
    with pytest.raises(client.CallError) as caught:
        Asked(tee, monkeypatch).the_other_vendors_way()
    assert caught.value.result == 0xFFFF0006


def test_an_operation_laid_out_for_the_other_vendor_is_rejected_though_it_succeeds(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    tee.play(strict=0, mem_unit=4096)
    asked = Asked(tee, monkeypatch)
    with pytest.raises(client.ReplyError, match="the unit is 0"):
        asked.the_other_vendors_way()


def test_without_that_check_wrong_numbers_would_pass(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    tee.play(strict=0, mem_unit=4096)
    asked = Asked(tee, monkeypatch)

    def credulous(
        *, returned_bytes: int, total: int, free: int, unit_bytes: int
    ) -> tuple[int, int]:
        assert returned_bytes == 16
        return total * (unit_bytes or 1), free * (unit_bytes or 1)

    monkeypatch.setattr(client, "accept_reply", credulous)
    assert asked.the_other_vendors_way() == (GIB // 4096, 768 * MIB // 4096)
