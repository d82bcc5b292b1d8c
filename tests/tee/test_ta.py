"""The trusted application: what it answers, what it refuses, and what its manifest says."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, SAMPLE_UUID, Built, layout, make
from tests.tee.configs import configs_xml

TA = ROOT / "ta"
FAKE_SDK = HERE / "fake_sdk"
OTHER_UUID = "01234567-89ab-cdef-0123-456789abcdef"

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
    here = layout(vendor, "x86_64", tee_build_root / "layout-x86_64")
    there = layout(vendor, "aarch64", tee_build_root / "layout-aarch64")
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


# ---- configs.xml and manifest.txt


@pytest.fixture(scope="module")
def manifest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ta_manifest", TA / "manifest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_manifest(
    tmp_path: Path, xml: str, uuid: str = SAMPLE_UUID
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "configs.xml").write_text(xml)
    return subprocess.run(
        [
            *(sys.executable, "-I", "-S", str(TA / "manifest.py"), "manifest"),
            *(str(tmp_path / "configs.xml"), "--output", str(tmp_path / "manifest.txt")),
            *("--uuid", uuid, "--heap", "81920", "--stack", "8192"),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_manifest_says_what_the_configuration_says(tmp_path: Path) -> None:
    result = run_manifest(tmp_path, configs_xml())
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "manifest.txt").read_text() == (
        "gpd.ta.appID: e3d37f4a-f24c-48d0-8884-3bdd6c44e988\n"
        "gpd.ta.service_name: tee-memory\n"
        "gpd.ta.singleInstance: true\n"
        "gpd.ta.multiSession: true\n"
        "gpd.ta.multicommand: false\n"
        "gpd.ta.instanceKeepAlive: true\n"
        "gpd.ta.dataSize: 81920\n"
        "gpd.ta.stackSize: 8192\n"
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"uuid": OTHER_UUID}, "uuid is 01234567-89ab-cdef-0123-456789abcdef there"),
        ({"heap_size": "16384"}, "heap_size is 16384 there, but this TA is built with 81920"),
        ({"stack_size": "2048"}, "stack_size is 2048 there"),
        ({"multi_session": "false"}, "multi_session is false there"),
        ({"single_instance": "false"}, "single_instance is false there"),
        ({"instance_keep_alive": "false"}, "instance_keep_alive is false there"),
        ({"heap_size": None}, "it doesn't say heap_size"),
        ({"heap_size": "80K"}, "heap_size is '80K', which is no number of bytes"),
        ({"heap_size": "0"}, "no number of bytes"),
        ({"uuid": "e3d37f4af24c48d088843bdd6c44e988"}, "no UUID"),
        ({"multi_session": "yes"}, "neither true nor false"),
        ({"service_name": "x" * 65}, "more than 64 characters"),
        ({"service_name": "a\nb"}, "can't stand in a manifest"),
        ({"unknown_tag": "1"}, "unknown_tag can't be carried over"),
    ],
)
def test_a_mismatch_is_one_line_and_leaves_no_manifest(
    tmp_path: Path, changes: dict[str, str | None], says: str
) -> None:
    (tmp_path / "manifest.txt").write_text("of an earlier run\n")
    result = run_manifest(tmp_path, configs_xml(**changes))
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {tmp_path}/configs.xml: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "manifest.txt").exists()


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("", "not XML"),
        ("<other/>", "outermost element is other"),
        ("<ConfigInfo><What/></ConfigInfo>", "What can't be carried over"),
        (configs_xml().replace("<uuid>", "<uuid>x</uuid><uuid>"), "no UUID"),
        (configs_xml().replace("<heap", "<heap_size>1</heap_size><heap"), "stands there twice"),
    ],
)
def test_what_is_no_configuration_is_one_line(tmp_path: Path, xml: str, says: str) -> None:
    result = run_manifest(tmp_path, xml)
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_uuid_may_be_written_in_capitals(tmp_path: Path) -> None:
    result = run_manifest(tmp_path, configs_xml(uuid=SAMPLE_UUID.upper()))
    assert result.returncode == 0
    assert SAMPLE_UUID in (tmp_path / "manifest.txt").read_text()


def test_the_request_is_a_configuration_that_passes(manifest: ModuleType, tmp_path: Path) -> None:
    text = make(TA, ["request", f"UUID={OTHER_UUID}", "SERVICE_NAME=ours"])
    values = manifest.read_configs(text.encode())
    assert values["uuid"] == OTHER_UUID
    assert values["service_name"] == "ours"
    assert run_manifest(tmp_path, text, OTHER_UUID).returncode == 0
