"""libteememca in threads, under sanitizers and valgrind, for aarch64, and as a file."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import COMPILERS, Built, read_log, runner
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
