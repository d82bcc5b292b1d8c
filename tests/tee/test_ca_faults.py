"""libteememca and a TEE, or a libteec, that fails: every result, every hang, every crash."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.tee.build import Built, read_log
from tests.tee.clients import Client

MIB = 1 << 20
GIB = 1 << 30
RESERVE_KB = 600 * 1024
FAILED = (-1, -1)

RESULTS = [
    *(0x1, 0x2, 0x3, 0x4, 0x6, 0xD),
    *(0xFFFF0000 + code for code in range(0x12)),
    *(0xFFFF3024, 0xFFFF3072, 0xFFFF3124, 0xFFFF5002, 0xFFFF9114, 0xFFFF9116, 0xFFFF9117),
    *(0xFFFFABAB, 0xFFFFCFE5),
]

Clients = Callable[[Built], Client]
pytestmark = pytest.mark.timeout(120)


# ---- faults


@pytest.mark.parametrize("call", ["init", "open", "invoke"])
def test_every_result_is_a_failure_and_leaves_nothing_open(
    built: Built, client: Clients, call: str
) -> None:
    asked = client(built)
    for code in RESULTS:
        if code == 0:
            continue
        asked.log.unlink(missing_ok=True)
        asked.tell(fault=f"{call}:result:{code:#x}:2")
        assert asked.answer() == FAILED, hex(code)
        assert asked.refusals() == []
        returned = [line for line in read_log(asked.log, "return") if line["call"] == call]
        assert {line["result"] for line in returned} == {f"0x{code:08x}"}


@pytest.mark.parametrize(
    "reply",
    [
        {"reply_size": 8},
        {"reply_size": 0},
        {"reply_size": 116},
        {"reply_unit": 0},
        {"reply_free": GIB + 1},
        {"reply_total": 0, "reply_free": 0},
        {"reply_total": 2**63, "reply_unit": 2},
        {"reply_total": 2**64 - 1, "reply_free": 0, "reply_unit": 4096},
        {"mem_unit": 0},
        {"freeram": 2, "totalram": 1},
        {"totalram": 2**62, "mem_unit": 4096},
        {"sysinfo_result": -1},
        {"ta_present": 0},
    ],
    ids=str,
)
def test_an_answer_that_can_not_be_true_is_a_failure(
    built: Built, client: Clients, reply: dict[str, int]
) -> None:
    asked = client(built)
    asked.tell(**reply)
    assert asked.answer() == FAILED
    assert asked.refusals() == []


def test_it_works_again_in_the_same_process_once_the_fault_is_mended(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    asked.tell(fault="init:slow:5,invoke:result:0xFFFF000D")
    with asked.start(built.driver, str(built.libteememca), "1", "100") as process:
        deadline = time.monotonic() + 20
        while asked.calls().count("init") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        asked.tell()
        out, _ = process.communicate(timeout=20)
    free, capacity, differing = map(int, out.split())
    assert (free, capacity) == FAILED
    assert differing > 0


@pytest.mark.parametrize("call", ["load", "init", "open", "invoke", "close", "finalize"])
def test_a_hang_is_the_callers_and_only_sigkill_ends_it(
    built: Built, client: Clients, call: str
) -> None:
    asked = client(built)
    asked.tell(fault=f"{call}:hang")
    with asked.start(built.driver, str(built.libteememca)) as process:
        deadline = time.monotonic() + 20
        while call not in asked.calls():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.kill()
        assert process.wait(timeout=10) == -signal.SIGKILL


def test_signals_wait_until_the_query_has_ended(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(fault="init:slow:500")
    with asked.start(built.driver, str(built.libteememca)) as process:
        deadline = time.monotonic() + 20
        while "init" not in asked.calls():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM
    assert asked.calls() == ["load", "init", "open", "invoke", "close", "finalize"]


@pytest.mark.parametrize("call", ["load", "init", "open", "invoke", "close", "finalize"])
def test_a_crash_in_libteec_is_a_crash(built: Built, client: Clients, call: str) -> None:
    asked = client(built)
    asked.tell(fault=f"{call}:crash")
    assert asked.run(built.driver, str(built.libteememca)).returncode == -signal.SIGSEGV


def test_a_slow_tee_is_waited_for(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(fault="init:slow:20,open:slow:20,invoke:slow:20,close:slow:20,finalize:slow:20")
    start = time.monotonic()
    assert asked.answer() != FAILED
    assert time.monotonic() - start >= 0.2


def test_no_libteec_is_a_failure(built: Built, client: Clients) -> None:
    asked = client(built)
    empty = asked.directory / "empty"
    empty.mkdir()
    assert asked.with_(library_directory=empty).answer() == FAILED


def test_a_libteec_without_a_call_or_without_its_own_libraries_is_a_failure(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    for library in (built.missing_symbol["itrustee"], built.missing_dependency["itrustee"]):
        assert asked.with_(library_directory=library.parent).answer() == FAILED
    assert "init" not in asked.calls()


def test_optees_libteec_under_the_same_name_is_not_called(built: Built, client: Clients) -> None:
    asked = client(built)
    directory = asked.directory / "optee"
    directory.mkdir()
    (directory / "libteec.so").symlink_to(built.optee)
    assert asked.with_(library_directory=directory).answer() == FAILED
    assert asked.calls() == ["load", "load"]


def test_ld_preload_is_refused_before_libteec_can_end_the_process(
    built: Built, client: Clients
) -> None:
    # Any library will do; this one is loaded anyway.
    asked = client(built).with_(environment={"LD_PRELOAD": str(built.libteememca)})
    assert asked.answer() == FAILED
    assert asked.calls() == []


def test_libteec_ends_a_process_with_ld_preload_set(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"LD_PRELOAD": str(built.libteememca)})
    result = asked.run(built.foreign_layout, str(built.itrustee))
    assert result.returncode == 255
    assert asked.refusals() == ["LD_PRELOAD is set"]


def test_an_exit_while_loading_ends_the_process(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(fault="load:exit")
    assert asked.run(built.driver, str(built.libteememca)).returncode == 255
