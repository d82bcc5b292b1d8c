"""The trusted application: what it answers and what it refuses."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, Built, layout

TA = ROOT / "ta"

pytestmark = pytest.mark.timeout(120)


# ---- the code


@pytest.mark.parametrize("fixture", ["built", "built_with_sanitizers"])
def test_it_answers_one_command_and_refuses_everything_else(
    request: pytest.FixtureRequest, fixture: str
) -> None:
    built: Built = request.getfixturevalue(fixture)
    result = subprocess.run(
        [built.ta_driver], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_valgrind_finds_nothing_in_it(built: Built) -> None:
    need("valgrind")
    result = subprocess.run(
        ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", built.ta_driver],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_it_never_panics() -> None:
    for source in TA.glob("*.[ch]"):
        assert not re.search(r"\b(TEE_Panic|assert|abort|exit)\s*\(", source.read_text()), source


def test_the_kernels_struct_is_refused_by_the_compiler(tmp_path: Path) -> None:
    need("compiler")
    headers = tmp_path / "include"
    shutil.copytree(HERE / "gp_host" / "include", headers)
    (headers / "sys" / "sysinfo.h").write_text("#include <linux/kernel.h>\n")
    result = subprocess.run(
        ["gcc", "-fsyntax-only", f"-I{headers}", str(TA / "tee_memory.c")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "not the SDK's <sys/sysinfo.h>" in result.stderr


def test_the_white_list_is_the_one_the_test_library_has(built: Built) -> None:
    # The library's list is what the TA told it: nothing of its own names a caller.
    (line,) = (text for text in (TA / "callers.h").read_text().splitlines() if '", "root")' in text)
    path = re.findall(r'X\("([^"]+)"', line)
    assert path == ["/vendor/bin/tee-device-plugin"]
    for source in (HERE / "libteec").glob("*.[ch]"):
        assert path[0] not in source.read_text()
    assert path[0].encode() in built.itrustee.read_bytes()


# ---- layouts


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
def test_the_layout_is_the_same_on_both_architectures(tee_build_root: Path, vendor: str) -> None:
    need("compiler", "cross compiler", "emulator")
    here = layout(vendor, "x86_64", tee_build_root)
    there = layout(vendor, "aarch64", tee_build_root)
    assert here == there
    sizes = {"itrustee": (88, 48, 16, 88), "optee": (8, 16, 24, 112)}[vendor]
    structs = ("TEEC_Context", "TEEC_Session", "TEEC_Parameter", "TEEC_Operation")
    assert tuple(here[f"sizeof {struct}"] for struct in structs) == sizes


def test_an_operation_laid_out_for_the_other_vendor_is_answered_with_success(
    built: Built, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.write_text("strict=0\n")
    lenient = _foreign(built, state)
    assert lenient.stdout == "result=0x00000000 size=16 total=1073741824 free=805306368 unit=0\n"
    state.write_text("strict=1\n")
    assert _foreign(built, state).stdout.startswith("result=0xffff0006 ")


def _foreign(built: Built, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [built.foreign_layout, built.optee],
        env={"TEST_TEE_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
