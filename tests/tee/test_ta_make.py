"""The trusted application: how it is built and signed, and what happens where it can't be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, SAMPLE_UUID, BuildError, make
from tests.tee.configs import configs_xml

TA = ROOT / "ta"
FAKE_SDK = HERE / "fake_sdk"
OTHER_UUID = "01234567-89ab-cdef-0123-456789abcdef"

pytestmark = pytest.mark.timeout(120)


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


@pytest.mark.usefixtures("certificate")
def test_both_are_built_in_a_checkout_whose_path_no_tool_would_choose(
    tmp_path: Path, sdk: Path
) -> None:
    need("compiler", "cross compiler")
    odd = tmp_path / "a folder with spaces, an @ and 中文"
    for name in ("ca", "ta"):
        shutil.copytree(ROOT / name, odd / "checkout" / name)
    sdk.rename(odd / "itrustee_sdk")
    for name in ("TA_cert", "signed_config"):
        (tmp_path / name).rename(odd / "checkout" / "ta" / name)
    make(odd / "checkout" / "ca", [])
    make(odd / "checkout" / "ta", ["sec", f"PYTHON={sys.executable}"])
    made = {path.name for path in (odd / "checkout" / "pkg").iterdir()}
    assert made == {"libteememca.so", f"{SAMPLE_UUID}.sec"}


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
    copy = shutil.copytree(TA, tmp_path / "checkout" / "ta")
    expected = tmp_path / "itrustee_sdk"
    with pytest.raises(BuildError, match=re.escape(f"the iTrustee SDK isn't at {expected}:")):
        make(copy, [])


def test_a_missing_compiler_is_named(tmp_path: Path, sdk: Path) -> None:
    with pytest.raises(BuildError, match=r"absent-gcc is missing: install it \(Debian: gcc-aarch"):
        make_ta(tmp_path, sdk, "CROSS_COMPILE=absent-")


def test_further_callers_are_a_setting(tmp_path: Path, sdk: Path) -> None:
    make_ta(tmp_path, sdk, *no_certificate(tmp_path), 'CALLERS=X("/opt/site/ca", "tee")')
    binary = (tmp_path / "obj" / "sign" / "libcombine.so").read_bytes()
    assert b"/opt/site/ca" in binary
    assert b"/vendor/bin/tee-device-plugin" in binary


def test_git_ignores_the_key(tmp_path: Path) -> None:
    need("git")
    secrets = ["ta/TA_cert/private_key.pem", "ta/signed_config/config"]
    shutil.copy(ROOT / ".gitignore", tmp_path)
    # An archive that was unpacked is no repository, but may become one.
    for words in (["init", "--quiet"], ["check-ignore", *secrets]):
        ignored = subprocess.run(
            ["git", *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
    assert ignored.stdout.splitlines() == secrets
