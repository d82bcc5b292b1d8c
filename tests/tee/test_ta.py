"""The trusted application: what it answers, what it refuses, and how it is built and signed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.tee.build import HERE, ROOT, SAMPLE_UUID, BuildError, Built, layout, make
from tests.tee.conftest import need

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


def configs_xml(**changes: str | None) -> str:
    defaults: dict[str, str | None] = {
        "service_name": "tee-memory",
        "uuid": SAMPLE_UUID,
        "instance_keep_alive": "true",
        "stack_size": "8192",
        "heap_size": "81920",
        "multi_command": "false",
        "multi_session": "true",
        "single_instance": "true",
    }
    values = defaults | changes
    tags = [f"<{tag}>{value}</{tag}>" for tag, value in values.items() if value is not None]
    basic = "".join(tag for tag in tags if tag.startswith(("<service", "<uuid")))
    rest = "".join(tag for tag in tags if not tag.startswith(("<service", "<uuid")))
    return (
        f"<ConfigInfo><TA_Basic_Info>{basic}</TA_Basic_Info>"
        f"<TA_Manifest_Info>{rest}</TA_Manifest_Info></ConfigInfo>"
    )


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


# ---- make


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    """A tree laid out as the vendor's SDK, of our own few files."""
    root = tmp_path / "itrustee_sdk"
    core = HERE / "gp_host" / "include"
    libc = root / "thirdparty" / "open_source" / "musl" / "libc"
    extensions = root / "include" / "TA" / "huawei_ext"
    extensions.mkdir(parents=True)
    shutil.copytree(FAKE_SDK / "libc", libc)
    shutil.copytree(core / "sys", libc / "sys")
    shutil.copy(core / "tee_defines.h", extensions.parent)
    shutil.copy(core / "tee_ext_api.h", extensions)
    shutil.copy(core / "tee_log.h", extensions)
    shutil.copytree(FAKE_SDK / "signtools", root / "build" / "signtools")
    (root / "build" / "tools").mkdir()
    shutil.copy(FAKE_SDK / "ta_link_64.ld", root / "build" / "tools")
    return root


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """What the developer has from the vendor, as make is told of it."""
    (tmp_path / "TA_cert").mkdir()
    (tmp_path / "signed_config").mkdir()
    (tmp_path / "TA_cert" / "private_key.pem").write_text("a key\n")
    (tmp_path / "signed_config" / "config").write_text("a signed configuration\n")
    (tmp_path / "signed_config" / "configs.xml").write_text(configs_xml())
    return [f"CERT={tmp_path}/TA_cert", f"SIGNED_CONFIG={tmp_path}/signed_config"]


def make_ta(tmp_path: Path, sdk: Path, *arguments: str) -> str:
    need("compiler", "cross compiler")
    places = [f"ITRUSTEE_SDK={sdk}", f"OUT={tmp_path}/pkg", f"OBJ={tmp_path}/obj"]
    return make(TA, [*places, f"PYTHON={sys.executable}", *arguments])


def no_certificate(tmp_path: Path) -> list[str]:
    return [f"CERT={tmp_path}/none", f"SIGNED_CONFIG={tmp_path}/none"]


def test_with_the_certificate_the_signed_file_is_in_the_package(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    make_ta(tmp_path, sdk, *certificate)
    assert [path.name for path in (tmp_path / "pkg").iterdir()] == [f"{SAMPLE_UUID}.sec"]
    signed = (tmp_path / "pkg" / f"{SAMPLE_UUID}.sec").read_bytes()
    head, elf, _ = signed.partition(b"\x7fELF")
    assert head.endswith(b"gpd.ta.stackSize: 8192\na key\na signed configuration\n")
    assert elf


def test_the_object_is_for_arm_and_exports_the_five_entry_points(tmp_path: Path, sdk: Path) -> None:
    make_ta(tmp_path, sdk, *no_certificate(tmp_path))
    unsigned = tmp_path / "obj" / "sign" / "libcombine.so"
    text = subprocess.run(
        ["readelf", "-hW", "--dyn-syms", str(unsigned)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "AArch64" in text
    lines = [line.split() for line in text.splitlines() if " GLOBAL " in line]
    defined = {line[7] for line in lines if line[6] != "UND"}
    needed = {line[7] for line in lines if line[6] == "UND"}
    assert defined >= {
        "TA_CreateEntryPoint",
        "TA_OpenSessionEntryPoint",
        "TA_InvokeCommandEntryPoint",
        "TA_CloseSessionEntryPoint",
        "TA_DestroyEntryPoint",
    }
    assert needed <= {
        *("SLog", "addcaller_ca_exec", "sysinfo", "memset", "memcpy"),
        *("__stack_chk_fail", "__stack_chk_guard"),
    }


def test_without_the_certificate_the_object_is_built_and_the_missing_named(
    tmp_path: Path, sdk: Path
) -> None:
    said = make_ta(tmp_path, sdk, *no_certificate(tmp_path)).splitlines()[-1]
    assert said.startswith(f"{tmp_path}/obj/sign/libcombine.so is built, but for {SAMPLE_UUID}.sec")
    assert f"{tmp_path}/none/private_key.pem" in said
    assert (tmp_path / "obj" / "sign" / "libcombine.so").exists()
    assert not (tmp_path / "pkg").exists()
    with pytest.raises(BuildError, match=r"error: .*the developer's certificate is incomplete"):
        make_ta(tmp_path, sdk, *no_certificate(tmp_path), "sec")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([f"UUID={OTHER_UUID}"], "uuid is e3d37f4a-f24c-48d0-8884-3bdd6c44e988 there"),
        (["HEAP=16384"], "heap_size is 81920 there, but this TA is built with 16384"),
        (["STACK=4096"], "stack_size is 8192 there"),
        (["KEEP_ALIVE=false"], "instance_keep_alive is true there"),
    ],
)
def test_a_mismatch_stops_before_signing_even_after_a_good_run(
    tmp_path: Path, sdk: Path, certificate: list[str], settings: list[str], says: str
) -> None:
    make_ta(tmp_path, sdk, *certificate)
    shutil.rmtree(tmp_path / "pkg")
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, sdk, *certificate, *settings)
    errors = [line for line in str(caught.value).splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert not list(tmp_path.glob("pkg/*"))


def test_a_mismatch_does_not_leave_an_earlier_signed_file_as_if_it_were_new(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    make_ta(tmp_path, sdk, *certificate)
    (tmp_path / "signed_config" / "configs.xml").write_text(configs_xml(heap_size="16384"))
    with pytest.raises(BuildError, match="heap_size is 16384 there"):
        make_ta(tmp_path, sdk, *certificate)


def test_without_the_sdk_one_line_says_what_to_fetch_and_where(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, tmp_path / "nowhere")
    said = str(caught.value).splitlines()[1:]
    assert len(said) == 1
    assert "fetch openEuler's repository itrustee_sdk there" in said[0]
    assert f"{tmp_path}/nowhere" in said[0]
    assert not (tmp_path / "obj").exists()


def test_by_default_the_sdk_stands_beside_the_checkout(tmp_path: Path) -> None:
    expected = ROOT.parent / "itrustee_sdk"
    if expected.exists():
        pytest.skip("there is an SDK")
    with pytest.raises(BuildError, match=re.escape(f"the iTrustee SDK isn't at {expected}:")):
        make(TA, [f"OUT={tmp_path}", f"OBJ={tmp_path}"])


def test_a_missing_compiler_is_named(tmp_path: Path, sdk: Path) -> None:
    with pytest.raises(BuildError, match=r"absent-gcc is missing: install it \(Debian: gcc-aarch"):
        make_ta(tmp_path, sdk, "CROSS_COMPILE=absent-")


def test_further_callers_are_a_setting(tmp_path: Path, sdk: Path) -> None:
    make_ta(tmp_path, sdk, *no_certificate(tmp_path), 'CALLERS=X("/opt/site/ca", "tee")')
    binary = (tmp_path / "obj" / "sign" / "libcombine.so").read_bytes()
    assert b"/opt/site/ca" in binary
    assert b"/vendor/bin/tee-device-plugin" in binary


def test_git_ignores_the_key() -> None:
    ignored = subprocess.run(
        ["git", "check-ignore", "ta/TA_cert/private_key.pem", "ta/signed_config/config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if ignored.returncode == 128:
        pytest.skip("not a git checkout")
    assert len(ignored.stdout.splitlines()) == 2
