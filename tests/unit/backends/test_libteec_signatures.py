"""One vendor's structures can't get into the other vendor's library."""

from ctypes import CFUNCTYPE, ArgumentError, byref, c_uint32
from typing import Any

import pytest

from teeplugin_backends.libteec import abi
from teeplugin_backends.libteec.client import ITRUSTEE, OPTEE, Library, LibraryError, load

OPERATIONS = {ITRUSTEE: abi.ItrusteeOperation, OPTEE: abi.OpteeOperation}
SESSIONS = {ITRUSTEE: abi.ItrusteeSession, OPTEE: abi.OpteeSession}
CONTEXTS = {ITRUSTEE: abi.ItrusteeContext, OPTEE: abi.OpteeContext}

Fake = CFUNCTYPE(c_uint32)


class AnyLibrary:
    """Exports every function; each succeeds and does nothing."""

    def __init__(self) -> None:
        self._functions: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        return self._functions.setdefault(name, Fake(lambda: abi.SUCCESS))

    def __getattr__(self, name: str) -> Any:
        return self[name]


def library(vendor: str) -> Library:
    dll: Any = AnyLibrary()
    return Library(dll, vendor, lambda _: None)


@pytest.mark.parametrize(("vendor", "other"), [(ITRUSTEE, OPTEE), (OPTEE, ITRUSTEE)])
def test_an_operation_session_or_context_of_the_other_vendor_is_refused(
    vendor: str, other: str
) -> None:
    at = library(vendor)
    session, origin = byref(SESSIONS[vendor]()), c_uint32()
    with pytest.raises(ArgumentError):
        at.call("TEEC_InvokeCommand", session, 0, byref(OPERATIONS[other]()), origin=origin)
    with pytest.raises(ArgumentError):
        at.call(
            "TEEC_InvokeCommand", byref(SESSIONS[other]()), 0, byref(OPERATIONS[vendor]()),
            origin=origin,
        )  # fmt: skip
    with pytest.raises(ArgumentError):
        at.call("TEEC_InitializeContext", None, byref(CONTEXTS[other]()))


@pytest.mark.parametrize("vendor", [ITRUSTEE, OPTEE])
def test_its_own_are_taken(vendor: str) -> None:
    at = library(vendor)
    session, origin = byref(SESSIONS[vendor]()), c_uint32()
    at.call("TEEC_InvokeCommand", session, 0, byref(OPERATIONS[vendor]()), origin=origin)
    at.call("TEEC_InitializeContext", None, byref(CONTEXTS[vendor]()))


def test_files_that_are_missing_are_told_in_one_line_with_the_reason_once() -> None:
    with pytest.raises(LibraryError) as caught:
        load(["nowhere.so.2", "nowhere.so", "/dev/null"], None, lambda *_: None)
    missing = "nowhere.so.2, nowhere.so: cannot open shared object file: No such file or directory"
    assert str(caught.value) == f"{missing}; /dev/null: file too short"
