"""The backend through its real helper on the test libteec: readings, and every fault."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from teeplugin_backends.base import (
    BadReply,
    Busy,
    Exhausted,
    Refused,
    TeeError,
    TeeMemory,
    Unreachable,
)
from teeplugin_backends.libteec import LibTeec
from tests.tee.asking import (
    CALLS,
    DEFAULT,
    GIB,
    MIB,
    Tee,
    calls_of,
    fault,
    made_tee,  # noqa: F401 - the fixture `tee`
)
from tests.tee.build import CA_PATH, SAMPLE_UUID, USER, read_log

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


# ---- readings


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_the_tees_memory_is_read_with_everything_opened_closed_again(
    tee: Tee, vendor: str
) -> None:
    tee.play(total_bytes=3 * GIB, free_bytes=5 * MIB)
    async with tee.backend(vendor) as asked:
        assert await asked.memory() == TeeMemory(3 * GIB, 5 * MIB)
        assert await asked.memory() == TeeMemory(3 * GIB, 5 * MIB)
    assert tee.calls() == calls_of(vendor) * 2
    assert tee.refusals() == []
    await tee.no_helper_is_left()


async def test_itrustee_is_asked_the_vendors_way(tee: Tee) -> None:
    await tee.backend("itrustee").memory()
    lines = {line["call"]: line for line in read_log(tee.directory / "log", "call")}
    opened, invoked = lines["open"], lines["invoke"]
    assert (opened["argv0"], opened["user"]) == (CA_PATH, USER)
    assert (opened["uuid"], opened["login"]) == (SAMPLE_UUID, "0x00000007")
    assert (opened["started"], opened["paramTypes"]) == ("0x00000001", "0x00000000")
    assert opened["ta_path"] == str(tee.directory / "ours.sec")
    assert (invoked["command"], invoked["started"]) == ("0x00000000", "0x00000001")
    assert invoked["paramTypes"] == "0x00002006"


@pytest.mark.parametrize("unit", [1, 4096, 65536])
async def test_the_unit_is_multiplied_in(tee: Tee, unit: int) -> None:
    tee.play(mem_unit=unit)
    assert await tee.backend("itrustee").memory() == DEFAULT


async def test_an_own_uuid_needs_no_change_of_code(tee: Tee) -> None:
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    tee.play(uuid=uuid)
    assert await tee.backend("itrustee", uuid=uuid.upper()).memory() == DEFAULT
    error = await fault(tee.backend("itrustee").memory())
    assert isinstance(error, Refused)
    assert "SERVICE_NOT_EXIST" in str(error)


@pytest.mark.parametrize("record", [56, 64])
@pytest.mark.parametrize("soname", ["libteec.so.2", "libteec.so.1"])
async def test_optee_tells_by_either_library_and_either_record(
    tee: Tee, record: int, soname: str
) -> None:
    tee.play(record=record)
    library = tee.built.optee.with_name(soname)
    assert await tee.backend("optee", library=library).memory() == DEFAULT


async def test_optees_wrap_is_seen_where_the_numbers_contradict_each_other(tee: Tee) -> None:
    # 5 GiB with 2 GiB taken: told as 1 GiB with 2 GiB taken.
    tee.play(total_bytes=5 * GIB, free_bytes=3 * GIB)
    error = await fault(tee.backend("optee").memory())
    assert isinstance(error, BadReply)
    assert "4 GiB" in str(error)
    # With nothing taken there is no contradiction: this is the documented limit.
    tee.play(total_bytes=5 * GIB, free_bytes=5 * GIB)
    assert await tee.backend("optee").memory() == TeeMemory(GIB, GIB)


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_the_loaders_search_finds_it_and_its_symbols_tell_whose_it_is(
    tee: Tee, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tee.built.library(vendor).parent))
    asked = LibTeec.from_options({"ta-path": str(tee.directory / "ours.sec"), "user": USER})
    assert await asked.memory() == DEFAULT
    paths = {"itrustee": "/var/itrustee/teecd", "optee": "/dev/tee0"}
    assert asked.access().host_paths()[0] == paths[vendor]


# ---- faults


@dataclass(frozen=True)
class Case:
    """What the TEE is told to be, and what has to come of it."""

    state: dict[str, object]
    kind: type[TeeError]
    words: str
    fix: str
    vendors: tuple[str, ...] = ("itrustee", "optee")


def result(call: str, code: int, kind: type[TeeError], words: str, fix: str) -> Case:
    return Case({"fault": f"{call}:result:{code:#x}"}, kind, words, fix)


def itrustee(case: Case) -> Case:
    return replace(case, vendors=("itrustee",))


def optee(case: Case) -> Case:
    return replace(case, vendors=("optee",))


FAULTS = [
    result("init", 0xFFFF000E, Unreachable, "COMMUNICATION", "daemon"),
    itrustee(result("init", 0xFFFF0000, Refused, "login failed, though teecd runs", "passwd")),
    optee(result("init", 0xFFFF0008, Unreachable, "device", "/dev/tee0")),
    itrustee(Case({"ta_present": 0}, Refused, "file is missing", "ta-path")),
    optee(Case({"ta_present": 0}, Refused, "pseudo-TA", "CFG_WITH_STATS=y")),
    result("open", 0xFFFF0001, Refused, "ACCESS_DENIED", "identity"),
    result("open", 0xFFFF000F, Refused, "SECURITY", "sign"),
    itrustee(result("open", 0xFFFF3072, Refused, "signature", "sign")),
    result("open", 0xFFFF000D, Busy, "BUSY", "multi_session"),
    result("open", 0xFFFF000C, Exhausted, "memory", "free"),
    optee(Case({"heap_free_bytes": 8191}, Exhausted, "7 of 200 KiB", "CFG_CORE_HEAP_SIZE")),
    result("invoke", 0xFFFF3024, BadReply, "panicked", "tlogcat"),
    result("invoke", 0xFFFFABAB, Unreachable, "restarting", "retries"),
    Case({"reply_size": 8}, BadReply, "8 bytes", "match"),
    itrustee(Case({"reply_size": 116}, BadReply, "no allowlist refused it", "this UUID")),
    itrustee(Case({"fault": "invoke:errno:14"}, BadReply, "EFAULT", "this UUID")),
    itrustee(Case({"fault": "open:errno:5"}, BadReply, "from the driver", "dmesg")),
    itrustee(result("open", 0xFFFFCFE5, Refused, "CA_AUTH_FAIL", "identity")),
    itrustee(Case({"reply_unit": 0}, BadReply, "unit is 0", "match")),
    Case({"reply_free": GIB + 1}, BadReply, "", "match"),
    Case({"reply_total": 0, "reply_free": 0}, BadReply, "0", "match"),
    itrustee(Case({"sysinfo_result": -1}, BadReply, "TEEC_InvokeCommand", "match")),
    Case({"fault": "load:exit"}, Unreachable, "status 255", "vendor's library"),
    Case({"fault": "load:crash"}, BadReply, "SIGSEGV", "crash"),
    *(Case({"fault": f"{call}:crash"}, BadReply, "SIGSEGV", "crash") for call in CALLS),
    *(Case({"fault": f"{call}:exit:0"}, BadReply, "status 0", "match") for call in CALLS[:-1]),
]


@pytest.mark.parametrize(
    ("vendor", "case"),
    [(vendor, case) for case in FAULTS for vendor in case.vendors],
    ids=lambda value: str(value.state) if isinstance(value, Case) else value,
)
async def test_a_fault_is_told_with_its_kind_and_fix_and_its_end_ends_it(
    tee: Tee, vendor: str, case: Case
) -> None:
    async with tee.backend(vendor) as asked:
        tee.play(**case.state)
        error = await fault(asked.memory())
        assert isinstance(error, case.kind)
        assert case.words in str(error)
        assert case.fix in error.fix
        tee.play()
        assert await asked.memory() == DEFAULT
    await tee.no_helper_is_left()


async def test_call_result_and_origin_are_in_the_text(tee: Tee) -> None:
    tee.play(fault="open:result:0xFFFF9117:3")
    error = await fault(tee.backend("itrustee").memory())
    assert "TEEC_OpenSession: 0xFFFF9117" in str(error)
    assert " from the TEE" in str(error)


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
async def test_a_library_that_is_missing_or_lacks_something_is_told_with_what(
    tee: Tee, vendor: str
) -> None:
    for library, words in [
        (tee.directory / "libteec.so", "libteec.so: cannot open shared object file"),
        (tee.built.missing_symbol[vendor], "exports no TEEC_InvokeCommand"),
        (tee.built.missing_dependency[vendor], "libboundscheck.so: cannot open"),
        (tee.built.libteememca, "neither iTrustee's nor OP-TEE's"),
    ]:
        asked = tee.backend(vendor, library=library)
        error = await fault(asked.memory())
        assert isinstance(error, Unreachable)
        assert words in str(error)
        assert "library=" in error.fix


@pytest.mark.parametrize(("vendor", "other"), [("itrustee", "optee"), ("optee", "itrustee")])
async def test_the_other_vendors_library_is_not_called(tee: Tee, vendor: str, other: str) -> None:
    error = await fault(tee.backend(vendor, flavour=other).memory())
    assert isinstance(error, Unreachable)
    assert f"is {vendor}'s library, not {other}'s" in str(error)
    assert "flavour=" in error.fix
    assert tee.calls() == ["load"]
