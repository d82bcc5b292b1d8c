"""The trusted application: how it is built and signed, and what happens where it can't be."""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import need
from tests.tee.build import HERE, ROOT, SAMPLE_UUID, BuildError, make
from tests.tee.certificates import config_of, new_key
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


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with the packages that the signing tool imports."""
    folder = shutil.copytree(FAKE_SDK / "modules", tmp_path / "modules")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    # A user's environment may have this, as nox's sessions do.
    monkeypatch.setenv("PYTHONSAFEPATH", "1")


@pytest.fixture
def certificate(tmp_path: Path) -> list[str]:
    """What the developer has from the vendor, as make is told of it."""
    need("openssl")
    (tmp_path / "TA_cert").mkdir()
    (tmp_path / "signed_config").mkdir()
    der = new_key(tmp_path / "TA_cert" / "private_key.pem")
    (tmp_path / "signed_config" / "config").write_bytes(config_of(der))
    return [f"CERT={tmp_path}/TA_cert", f"SIGNED_CONFIG={tmp_path}/signed_config"]


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter at a path that a shell would take for more than one word."""
    link = tmp_path / "an @, spaces, it's 中文" / "python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    return link


def make_ta(tmp_path: Path, sdk: Path, *arguments: str) -> str:
    need("compiler", "cross compiler")
    places = [f"ITRUSTEE_SDK={sdk}", f"OUT={tmp_path}/pkg", f"OBJ={tmp_path}/obj"]
    return make(TA, [f"PYTHON={sys.executable}", *places, *arguments])


def no_certificate(tmp_path: Path) -> list[str]:
    return [f"CERT={tmp_path}/none", f"SIGNED_CONFIG={tmp_path}/none"]


def errors_of(caught: pytest.ExceptionInfo[BuildError]) -> list[str]:
    """Take the lines that say what is wrong; nothing else is printed but make's own last line."""
    said = [line for line in str(caught.value).splitlines()[1:] if not line.startswith("make")]
    assert all(line.startswith(("error: ", "note: ")) for line in said), said
    return [line for line in said if line.startswith("error: ")]


def manifest_in(signed: Path) -> dict[str, str]:
    head, _, _ = signed.read_bytes().partition(struct.pack("<I", 0xABCDABCD))
    return dict(line.split(": ", 1) for line in head.decode().splitlines())


def test_with_key_and_config_the_signed_file_is_in_the_package(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    said = make_ta(tmp_path, sdk, *certificate).splitlines()
    signed = tmp_path / "pkg" / f"{SAMPLE_UUID}.sec"
    assert said[-1] == f"signed {signed}"
    assert [path.name for path in signed.parent.iterdir()] == [signed.name]
    assert b"\x7fELF" in signed.read_bytes()
    assert manifest_in(signed) == {
        "gpd.ta.appID": SAMPLE_UUID,
        "gpd.ta.service_name": "tee-memory",
        "gpd.ta.singleInstance": "true",
        "gpd.ta.multiSession": "true",
        "gpd.ta.multicommand": "false",
        "gpd.ta.instanceKeepAlive": "true",
        "gpd.ta.dataSize": "81920",
        "gpd.ta.stackSize": "8192",
    }


def test_the_three_files_of_the_original_are_enough(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    xml = configs_xml(service_name="demo-ta", instance_keep_alive="false", uuid=OTHER_UUID)
    der = new_key(tmp_path / "TA_cert" / "private_key.pem")
    (tmp_path / "signed_config" / "config").write_bytes(config_of(der, xml))
    (tmp_path / "manifest.txt").write_text(
        f"gpd.ta.appID:                   {OTHER_UUID}\n"
        "gpd.ta.service_name:            demo-ta\n"
        "gpd.ta.singleInstance:          true\n"
        "gpd.ta.multiSession:            true\n"
        "gpd.ta.instanceKeepAlive:       false\n"
        "gpd.ta.dataSize:                81920\n"
        "gpd.ta.stackSize:               8192\n"
    )
    said = make_ta(tmp_path, sdk, *certificate, f"MANIFEST={tmp_path}/manifest.txt", "sec")
    signed = tmp_path / "pkg" / f"{OTHER_UUID}.sec"
    assert said.splitlines()[-1] == f"signed {signed}"
    assert manifest_in(signed)["gpd.ta.instanceKeepAlive"] == "false"
    assert f"--backend-option uuid={OTHER_UUID}" in said


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
    assert made == {"libteememca.so", "tee-limit", f"{SAMPLE_UUID}.sec"}


@pytest.mark.usefixtures("certificate")
def test_what_is_the_developers_may_be_at_any_path(tmp_path: Path, sdk: Path, python: Path) -> None:
    odd = python.parent
    sdk = sdk.rename(odd / "itrustee_sdk")
    for name in ("TA_cert", "signed_config"):
        (tmp_path / name).rename(odd / name)
    words = (f"CERT={odd}/TA_cert", f"SIGNED_CONFIG={odd}/signed_config", f"PYTHON={python}")
    make_ta(tmp_path, sdk, *words, "sec")
    assert (tmp_path / "pkg" / f"{SAMPLE_UUID}.sec").exists()


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
    assert said.startswith(f"{tmp_path}/obj/sign/libcombine.so is built, but for the .sec the")
    assert f"{tmp_path}/none/private_key.pem" in said
    assert (tmp_path / "obj" / "sign" / "libcombine.so").exists()
    assert not (tmp_path / "pkg").exists()
    with pytest.raises(BuildError, match=r"error: .*the developer's certificate is incomplete"):
        make_ta(tmp_path, sdk, *no_certificate(tmp_path), "sec")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([f"UUID={OTHER_UUID}"], f"uuid is {OTHER_UUID}, but {SAMPLE_UUID} in the certificate"),
        (["HEAP=163840"], "heap_size is 163840, more than the 81920 of the certificate"),
        (["STACK=9000"], "stack_size is 9000, more than the 8192 of the certificate"),
        (["KEEP_ALIVE=false"], "instance_keep_alive is false, but true in the certificate"),
        (["SERVICE_NAME=tee.memory"], "service_name is 'tee.memory', which the signing tool"),
        (["SERVICE_NAME=it's"], 'service_name is "it\'s", which the signing tool'),
    ],
)
def test_a_mismatch_stops_before_the_build_even_after_a_good_run(
    tmp_path: Path, sdk: Path, certificate: list[str], settings: list[str], says: str
) -> None:
    make_ta(tmp_path, sdk, *certificate)
    shutil.rmtree(tmp_path / "pkg")
    shutil.rmtree(tmp_path / "obj")
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, sdk, *certificate, *settings)
    (error,) = errors_of(caught)
    assert says in error
    assert not list(tmp_path.glob("pkg/*"))
    assert not (tmp_path / "obj").exists()


def test_a_smaller_heap_is_signed_with_a_note(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    said = make_ta(tmp_path, sdk, *certificate, "HEAP=16384")
    assert "note: heap_size is 16384, less than the 81920 that the certificate allows" in said
    assert manifest_in(tmp_path / "pkg" / f"{SAMPLE_UUID}.sec")["gpd.ta.dataSize"] == "16384"


def test_the_key_of_another_certificate_stops_before_the_build(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    new_key(tmp_path / "TA_cert" / "private_key.pem")
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, sdk, *certificate)
    (error,) = errors_of(caught)
    assert error.startswith(
        f"error: {tmp_path}/TA_cert/private_key.pem: isn't the private key of the certificate in "
        f"{tmp_path}/signed_config/config: "
    )
    assert not (tmp_path / "obj").exists()


@pytest.mark.parametrize("needed", [("gmssl", "gmssl"), ("Crypto", "pycryptodome")])
def test_a_module_that_the_signing_tool_lacks_is_named_before_the_build(
    tmp_path: Path, sdk: Path, certificate: list[str], python: Path, needed: tuple[str, str]
) -> None:
    module, package = needed
    (tmp_path / "modules" / f"{module}.py").write_text("import a_module_that_no_python_has\n")
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, sdk, *certificate, f"PYTHON={python}")
    (error,) = errors_of(caught)
    assert error == (
        f"error: the signing tool needs the Python modules {module}, which {python} lacks: "
        f"{shlex.join([str(python), '-m', 'pip', 'install', package])}"
    )
    assert not (tmp_path / "obj").exists()


def test_what_the_signing_tool_refuses_is_one_line(
    tmp_path: Path, sdk: Path, certificate: list[str]
) -> None:
    tool = sdk / "build" / "signtools" / "signtool_v3.py"
    tool.write_text(tool.read_text().replace("len(service) > 36", "len(service) > 3"))
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, sdk, *certificate)
    (error,) = [line for line in str(caught.value).splitlines() if "error: " in line]
    assert error == (
        "error: the signing tool failed: ERROR:root:service name len cannot larger than 36: "
        f"its output is in {tmp_path}/obj/signtool.log"
    )
    assert "Traceback" not in str(caught.value)


def test_without_the_sdk_one_line_says_what_to_fetch_and_where(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        make_ta(tmp_path, tmp_path / "not anywhere")
    said = str(caught.value).splitlines()[1:]
    assert len(said) == 1
    assert "fetch openEuler's repository itrustee_sdk there" in said[0]
    assert f"{tmp_path}/not anywhere" in said[0]
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
    secrets = ["ta/TA_cert/private_key.pem", "ta/signed_config/config", "ta/manifest.txt"]
    shutil.copy(ROOT / ".gitignore", tmp_path)
    # An archive that was unpacked is no repository, but may become one.
    for words in (["init", "--quiet"], ["check-ignore", *secrets]):
        ignored = subprocess.run(
            ["git", *words], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )
    assert ignored.stdout.splitlines() == secrets
