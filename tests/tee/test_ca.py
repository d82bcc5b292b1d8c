"""libteememca: figures, identity, every fault, threads, sanitizers, valgrind and aarch64."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tee.build import COMPILERS, ROOT, SAMPLE_UUID, BuildError, Built, make, read_log, runner
from tests.tee.clients import Client
from tests.tee.conftest import need

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


# ---- figures


def test_free_and_capacity_are_kilobytes_and_the_reserve_is_off_the_capacity_only(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    asked.tell(total_bytes=4 * GIB, free_bytes=3 * GIB)
    assert asked.answer() == (3 * 1024 * 1024, 4 * 1024 * 1024 - RESERVE_KB)


@pytest.mark.parametrize("unit", [1, 1024, 4096, 65536])
def test_the_unit_is_multiplied_before_anything_is_divided(
    built: Built, client: Clients, unit: int
) -> None:
    asked = client(built)
    asked.tell(totalram=3 * GIB // unit + 1, freeram=5, mem_unit=unit)
    assert asked.answer() == (5 * unit // 1024, (3 * GIB + unit) // 1024 - RESERVE_KB)


def test_nothing_free_is_an_answer(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=GIB, free_bytes=0)
    assert asked.answer() == (0, 1024 * 1024 - RESERVE_KB)


def test_a_total_below_the_reserve_leaves_no_capacity(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=500 * MIB, free_bytes=MIB)
    assert asked.answer() == (1024, 0)


def test_sixteen_terabytes_and_the_most_that_64_bits_hold(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(total_bytes=16 << 40, free_bytes=15 << 40)
    assert asked.answer() == (15 << 30, (16 << 30) - RESERVE_KB)
    most = 2**64 - 1
    asked.tell(totalram=most, freeram=most)
    assert asked.answer() == (most // 1024, most // 1024 - RESERVE_KB)


def test_each_query_opens_asks_and_closes(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.figures(rounds=2)
    query = ["init", "open", "invoke", "close", "finalize"]
    assert asked.calls() == ["load", *query * 4]
    assert asked.refusals() == []
    opened = next(line for line in read_log(asked.log, "call") if line["call"] == "open")
    assert opened["login"] == "0x00000007"
    assert opened["uuid"] == SAMPLE_UUID
    assert opened["ta_path"] == str(asked.ta_path)
    invoked = next(line for line in read_log(asked.log, "call") if line["call"] == "invoke")
    assert invoked["paramTypes"] == "0x00002006"
    assert invoked["started"] == "0x00000001"


def test_python_meets_the_same_c_abi(built: Built, client: Clients) -> None:
    asked = client(built)
    asked.tell(anybody=True, total_bytes=2 * GIB, free_bytes=GIB)
    program = (
        "import ctypes, sys\n"
        "library = ctypes.CDLL(sys.argv[1])\n"
        "for name in ('GetTeeFreeMem', 'GetTeeCapacityMem'):\n"
        "    getattr(library, name).restype = ctypes.c_longlong\n"
        "    print(getattr(library, name)())\n"
    )
    asked = asked.with_(argv0=sys.executable)
    result = asked.run(Path(sys.executable), "-I", "-c", program, str(built.libteememca))
    assert result.stdout.split() == [str(1024 * 1024), str(2 * 1024 * 1024 - RESERVE_KB)]


# ---- settings


def test_the_reserve_is_a_setting(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_RESERVE_KB": "1024"})
    assert asked.answer()[1] == 1024 * 1024 - 1024


@pytest.mark.parametrize("text", ["-1", "600MiB", "0x10", " 1", "18446744073709551616"])
def test_a_reserve_that_is_no_number_is_no_figure(built: Built, client: Clients, text: str) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_RESERVE_KB": text})
    assert asked.answer() == FAILED


def test_the_uuid_and_the_path_are_settings(built: Built, client: Clients) -> None:
    uuid = "01234567-89AB-cdef-0123-456789abcdef"
    asked = client(built)
    (asked.directory / "other.sec").touch()
    asked = asked.with_(
        environment={
            "TEEMEMCA_UUID": uuid,
            "TEEMEMCA_TA_PATH": str(asked.directory / "other.sec"),
        }
    )
    asked.tell(uuid=uuid.lower())
    assert asked.answer() != FAILED
    asked.tell(uuid=SAMPLE_UUID)
    assert asked.answer() == FAILED


@pytest.mark.parametrize(
    "uuid",
    [
        "e3d37f4a-f24c-48d0-8884-3bdd6c44e98",
        "e3d37f4a-f24c-48d0-8884-3bdd6c44e9889",
        "e3d37f4a_f24c-48d0-8884-3bdd6c44e988",
        "g3d37f4a-f24c-48d0-8884-3bdd6c44e988",
        "e3d37f4-af24c-48d0-8884-3bdd6c44e988",
    ],
)
def test_a_uuid_that_is_none_asks_nobody(built: Built, client: Clients, uuid: str) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_UUID": uuid})
    assert asked.answer() == FAILED
    assert asked.calls() == []


def test_a_path_that_libteec_would_not_take_asks_nobody(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"TEEMEMCA_TA_PATH": f"/{'x' * 251}.sec"})
    assert asked.answer() == FAILED
    assert asked.calls() == []


def test_settings_are_built_in(built: Built, client: Clients) -> None:
    asked = client(built)
    directory = asked.directory / "own"
    make(
        ROOT / "ca",
        [
            f"OUT={directory}",
            f"OBJ={directory}/obj",
            "UUID=00000000-1111-2222-3333-444444444444",
            f"TA_DIRECTORY={asked.directory}",
            "RESERVE_KB=0",
        ],
    )
    (asked.directory / "00000000-1111-2222-3333-444444444444.sec").touch()
    asked.tell(uuid="00000000-1111-2222-3333-444444444444")
    asked = asked.with_(environment={"TEEMEMCA_TA_PATH": ""})
    result = asked.run(built.driver, str(directory / "libteememca.so"))
    assert result.stdout == f"{768 * 1024} {1024 * 1024} 0\n"


def test_a_header_written_the_other_way_gives_the_same_figures(
    built: Built, client: Clients
) -> None:
    asked = client(built)
    directory = asked.directory / "sdk"
    headers = ROOT / "tests" / "tee" / "fake_sdk" / "CA"
    make(ROOT / "ca", [f"OUT={directory}", f"OBJ={directory}/obj", f"TEEC_HEADERS={headers}"])
    used = (directory / "obj" / "used").read_text()
    assert str(headers) in used
    result = asked.run(built.driver, str(directory / "libteememca.so"))
    assert result.stdout == f"{768 * 1024} {1024 * 1024 - RESERVE_KB} 0\n"


def test_a_header_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"has no tee_client_api\.h: name the SDK's"):
        make(ROOT / "ca", [f"OUT={tmp_path}", f"OBJ={tmp_path}", f"TEEC_HEADERS={tmp_path}"])


# ---- who may ask


@pytest.mark.parametrize("argv0", ["tee-device-plugin", "/vendor/bin/other", sys.executable])
def test_another_argv0_is_refused(built: Built, client: Clients, argv0: str) -> None:
    asked = client(built).with_(argv0=argv0)
    assert asked.answer() == FAILED
    assert read_log(asked.log, "call")[1]["argv0"] == argv0
    assert "white list" in asked.refusals()[0]


def _others_may_reach(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


@pytest.mark.parametrize(
    ("uid", "why"), [(65534, "white list"), (54321, "passwd")], ids=["nobody", "no passwd entry"]
)
def test_another_user_is_refused(built: Built, client: Clients, uid: int, why: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    asked = client(built).with_(user=uid)
    asked.log.touch()
    asked.log.chmod(0o666)
    # pytest's directories are its user's own.
    for path in (*built.libteememca.parents, *asked.log.parents):
        if path.stat().st_uid == 0 and path.name.startswith(("pytest-", "tee", "plain", "test_")):
            path.chmod(0o755)
    assert _others_may_reach(built.libteememca)
    assert _others_may_reach(asked.log)
    assert asked.answer() == FAILED
    assert why in asked.refusals()[0]


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


# ---- threads, sanitizers, valgrind


def test_threads_get_the_same_figures(built: Built, client: Clients) -> None:
    asked = client(built).with_(environment={"TEST_TEE_LOG": ""})
    figures = asked.figures(threads=8, rounds=50)
    assert figures == [(768 * 1024, 1024 * 1024 - RESERVE_KB, 0)] * 8


def _suspects() -> list[dict[str, object]]:
    return [
        {},
        {"mem_unit": 4096},
        {"mem_unit": 0},
        {"totalram": 2**64 - 1, "mem_unit": 2**32 - 1},
        {"reply_size": 8},
        {"reply_size": 116},
        {"reply_total": 2**64 - 1, "reply_unit": 2**32 - 1},
        {"fault": "init:result:0xFFFF0000"},
        {"fault": "open:result:0xFFFF000C"},
        {"fault": "invoke:result:0xFFFF3024"},
        {"ta_present": 0},
        {"sysinfo_result": -1},
    ]


@pytest.mark.parametrize("state", _suspects(), ids=str)
def test_address_and_undefined_behaviour_sanitizers_find_nothing(
    built_with_sanitizers: Built, client: Clients, state: dict[str, object]
) -> None:
    asked = client(built_with_sanitizers)
    asked = asked.with_(
        environment={"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1"}
    )
    asked.tell(**state)
    asked.figures(threads=2, rounds=5)
    assert asked.refusals() == []


def test_sanitizers_find_nothing_in_the_refusals(
    built_with_sanitizers: Built, client: Clients
) -> None:
    asked = client(built_with_sanitizers)
    assert asked.with_(argv0="x" * 300).answer() == FAILED
    result = asked.run(built_with_sanitizers.foreign_layout, str(built_with_sanitizers.optee))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_thread_sanitizer_finds_nothing(tee_build_root: Path, client: Clients) -> None:
    from tests.tee.build import build  # noqa: PLC0415 - this test alone builds

    need("compiler")
    asked = client(build(tee_build_root / "threads", sanitizers=("thread",)))
    asked.figures(threads=4, rounds=10)


@pytest.mark.parametrize("state", _suspects(), ids=str)
def test_valgrind_finds_nothing(built: Built, client: Clients, state: dict[str, object]) -> None:
    need("valgrind")
    valgrind = (
        *("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full"),
        *("--errors-for-leak-kinds=definite,indirect,possible", "--track-fds=no"),
    )
    asked = client(built).with_(wrapper=valgrind, environment={"GLIBC_TUNABLES": ""})
    # Under valgrind argv[0] is the program's path.
    asked.tell(anybody=True, **state)
    result = asked.run(built.driver, str(built.libteememca), "2", "2", seconds=100)
    assert (result.returncode, result.stderr) == (0, "")


# ---- aarch64


def test_an_arm_build_gives_the_same_figures(built_for_aarch64: Built, client: Clients) -> None:
    need("emulator")
    emulator, *options = runner("aarch64")
    asked = client(built_for_aarch64)
    libraries = str(built_for_aarch64.itrustee.parent)
    wrapper = (emulator, *options, "-E", f"LD_LIBRARY_PATH={libraries}", "-0", asked.argv0)
    asked = asked.with_(wrapper=wrapper, environment={"LD_LIBRARY_PATH": ""})
    asked.tell(total_bytes=4 * GIB, free_bytes=3 * GIB, mem_unit=4096)
    assert asked.answer() == (3 * 1024 * 1024, 4 * 1024 * 1024 - RESERVE_KB)
    assert asked.refusals() == []
    opened = next(line for line in read_log(asked.log, "call") if line["call"] == "open")
    assert opened["argv0"] == asked.argv0


# ---- the library's file


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_the_library_is_hardened_and_needs_no_libteec_to_be_loaded(
    request: pytest.FixtureRequest, arch: str
) -> None:
    name = "built" if COMPILERS[arch] == "gcc" else "built_for_aarch64"
    built: Built = request.getfixturevalue(name)
    dynamic = _readelf("-d", built.libteememca)
    assert "libteec" not in dynamic.replace("libteememca", "")
    assert "BIND_NOW" in dynamic
    assert "TEXTREL" not in dynamic
    headers = _readelf("-lW", built.libteememca)
    assert "GNU_RELRO" in headers
    (stack,) = (line for line in headers.splitlines() if "GNU_STACK" in line)
    assert "RWE" not in stack
    symbols = _readelf("--dyn-syms", "-W", built.libteememca)
    exported = {
        line.split()[-1] for line in symbols.splitlines() if "GLOBAL" in line and "UND" not in line
    }
    assert exported == {"GetTeeFreeMem", "GetTeeCapacityMem"}
    assert "__stack_chk_fail" in symbols


def _readelf(*arguments: object) -> str:
    return subprocess.run(
        ["readelf", *map(str, arguments)], capture_output=True, text=True, timeout=30, check=True
    ).stdout


def test_it_loads_where_there_is_no_libteec(built: Built) -> None:
    library = ctypes.CDLL(str(built.libteememca))
    library.GetTeeFreeMem.restype = ctypes.c_longlong
    assert library.GetTeeFreeMem() == -1
