"""What iTrustee's driver tells beside the query: versions, memory by application, long calls."""

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from teeplugin_backends.base import Result
from teeplugin_backends.libteec import driver_info, usage
from teeplugin_backends.libteec.checks import Way
from teeplugin_backends.libteec.options import Options

GIB = 1024**3


# ---- memory by application


def memstat(unit_bytes: int) -> str:
    """The driver's text as the helper passes it on, in one line."""
    total = 3 * GIB // unit_bytes
    return (
        f"TotalMem:{total} Pmem:7 Free_Mem:5 Free_Mem_Min:3 TA_Num:3 "
        "ta_name:ours ta_pmem:10 pmem_max:20 pmem_limit:0 "
        "ta_name:a b ta_pmem:4 pmem_max:4 pmem_limit:0 "
        "ta_name:ours ta_pmem:1 pmem_max:2 pmem_limit:0"
    )


@pytest.mark.parametrize("unit_bytes", [1024, 4096, 1024**2])
def test_the_drivers_unit_is_the_one_by_which_its_total_is_the_tees(unit_bytes: int) -> None:
    used = usage.applications(memstat(unit_bytes), 3 * GIB + 4096)
    assert used == {"ours": 11 * unit_bytes, "a b": 4 * unit_bytes}


@pytest.mark.parametrize("text", ["", "TotalMem:x", "TotalMem:12345 ta_name:ours ta_pmem:10 "])
def test_without_a_unit_nothing_is_known(text: str) -> None:
    assert usage.applications(text, 3 * GIB) == {}


# ---- versions


class Driver:
    """Answers requests as the driver does, in place of the C library's ioctl."""

    def __init__(self, version: bytes, *, answers: bool = True) -> None:
        self.version, self.answers, self.requests = version, answers, list[int]()
        self.restype = self.argtypes = None

    def __call__(self, _file: int, request: int, room: object) -> int:
        self.requests.append(request)
        if not self.answers:
            return -1
        given = self.version if request & 0xFF == 5 else (2).to_bytes(2, "little") + b"\1\0"
        ctypes.memmove(room, given, len(given))  # type: ignore[arg-type]
        return 0


def told_by(driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(driver_info, "CDLL", lambda _: SimpleNamespace(ioctl=driver))
    node = tmp_path / "teelog"
    node.touch()
    told: dict[str, str] = {}
    driver_info.tell_more(told.__setitem__, str(node), "")
    return told


def test_versions_are_asked_for_by_the_drivers_two_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(b"iTrustee OS 2.1".ljust(156, b"\0"))
    told = told_by(driver, tmp_path, monkeypatch)
    assert (told["tee-os"], told["driver"]) == ("iTrustee OS 2.1", "2.1")
    # _IOR(0xBE, 5, char[256]) and _IOR(0xBE, 9, 64 bytes).
    assert driver.requests == [0x8100BE05, 0x8040BE09]


def test_a_driver_that_tells_no_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = told_by(Driver(b"", answers=False), tmp_path, monkeypatch)
    assert told["no-versions"].endswith("gives no version")
    assert "driver" not in told


def test_a_log_that_is_not_there_or_is_not_to_be_opened_costs_nothing(tmp_path: Path) -> None:
    told: dict[str, str] = {}
    driver_info.tell_more(told.__setitem__, str(tmp_path / "none"), "")
    assert told == {}


# ---- long calls


def test_who_was_long_in_the_tee_is_in_the_kernels_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = "[cmd_monitor_tick] pid={},pname={},tid=1, tname=x, lastcmdid=3, agent call count:0, "
    ends = "running with timedif=11000 ms and report"
    records = [
        f"4,1,1000000,-;{call.format(7, 'ca')}{ends}",
        "6,2,2000000,-;eth0: link up",
        f"4,3,3000000,-;{call.format(8, 'other')}{ends}",
        f"4,4,9000000,-;{call.format(7, 'ca')}{ends}",
        "4,5,9000001,-;[cmd_monitor_tick] pid=9",
    ]
    monkeypatch.setattr(usage, "_records", lambda _: iter(records))
    assert usage.long_calls("/dev/kmsg", 10.0) == [(8, "other", 7.0), (7, "ca", 1.0)]


def test_the_log_is_read_to_its_end_and_no_further() -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"4,1,1000000,-;words")
        # A pipe that has no more to give now is as the kernel's log at its end.
        assert list(usage._records(f"/proc/self/fd/{reader}")) == ["4,1,1000000,-;words"]
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(("answered", "result"), [(True, Result.OK), (False, Result.WARNING)])
def test_doctor_names_them_where_the_tee_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, *, answered: bool, result: Result
) -> None:
    calls = [usage.LongCall(7, "ca", 12.0), usage.LongCall(8, "of-yesterday", 90_000.0)]
    monkeypatch.setattr(usage, "long_calls", lambda *_: calls)
    told = {"vendor": "itrustee", "step": "TEEC_InvokeCommand"}
    told |= {"total": "2", "free": "1", "tee-os": "2.1"} if answered else {}
    found = {each.check: each for each in Way(Options(), told, Path("/nowhere")).findings()}
    assert found["long-calls"].result is result
    assert found["long-calls"].text == "in the TEE for over 10 s: ca (process 7, 12 s ago)"
    assert found["versions"].result is (Result.OK if answered else Result.NOT_APPLICABLE)
