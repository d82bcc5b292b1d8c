"""What is laid out for the image, from a small executable of the same form, and its bill."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.deploy.files import DEPLOY, run, tree

FOREIGN = (".cpython-310-sparc-linux-gnu.so", ".cpython-39-riscv64-linux-gnu.so")
SITE = "usr/lib/tee-device-plugin/site"
METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: 1.2\nLicense-Expression: MIT\n"
PACKED = {
    "__main__.py": "",
    "environment.json": "{}",
    "site-packages/bin/tool": "#!/nowhere\n",
    "site-packages/teeplugin/__init__.py": "",
    "site-packages/teeplugin/__main__.py": "def run(): print(__file__); return 3\n",
    "site-packages/teeplugin-1.2.dist-info/METADATA": METADATA.format("teeplugin")
    + "Requires-Dist: native-parts>=1\nRequires-Dist: other; extra == 'no'\n",
    "site-packages/native_parts-1.2.dist-info/METADATA": METADATA.format("native_parts"),
    "site-packages/native/__init__.py": "",
    **{f"site-packages/native/_c{suffix}": "" for suffix in (EXTENSION_SUFFIXES[0], *FOREIGN)},
    "site-packages/native/plain.so": "",
}


def context(directory: Path, packed: Mapping[str, str], *more: str) -> Path:
    """Make a folder to build in: the scripts, an executable, and further files."""
    directory.mkdir()
    for script in ("assemble.py", "sbom.py", "entrypoint.sh"):
        (directory / script).write_bytes((DEPLOY / "docker" / script).read_bytes())
    executable = directory / "tee-device-plugin"
    executable.write_bytes(b"#!/bin/sh\nexit 1\n")
    with zipfile.ZipFile(executable, "a") as archive:
        for name, text in packed.items():
            archive.writestr(name, text)
    for name in more:
        (directory / name).write_bytes(name.encode())
    return directory


def assemble(directory: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, directory / "assemble.py", directory, out)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    files = ("libteec.so", "libboundscheck.so", "ours.sec", "tlogcat", "notes.txt")
    result = assemble(context(tmp_path / "context", PACKED, *files), tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    return tmp_path / "out"


def test_each_file_is_where_the_plugin_looks_for_it(out: Path) -> None:
    outside = {path for path in tree(out) if not path.startswith(SITE)}
    assert outside == {
        "data/ours.sec",
        "entrypoint.sh",
        "etc/ld.so.conf.d/tee-device-plugin.conf",
        "usr/bin/tlogcat",
        "usr/lib64/libboundscheck.so",
        "usr/lib64/libteec.so",
        "usr/share/tee-device-plugin/sbom.cdx.json",
        "vendor/bin/tee-device-plugin",
    }
    for program in ("entrypoint.sh", "usr/bin/tlogcat", "vendor/bin/tee-device-plugin"):
        assert stat.S_IMODE((out / program).stat().st_mode) == 0o755


def test_of_extension_modules_only_this_pythons_are_kept(out: Path) -> None:
    modules = {path.name for path in (out / SITE / "native").glob("*.so")}
    assert modules == {f"_c{EXTENSION_SUFFIXES[0]}", "plain.so"}
    assert not (out / SITE / "bin").exists()


def test_all_is_compiled_for_where_it_will_be(out: Path) -> None:
    for source in (out / SITE).rglob("*.py"):
        compiled = (
            source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        )
        content = compiled.read_bytes()
        # Flags 1: by hash, and never checked against the source.
        assert content[4:8] == b"\1\0\0\0"
        assert f"/{source.relative_to(out)}".encode() in content
        assert os.fsencode(out) not in content


def test_the_launcher_starts_the_plugin_isolated(out: Path) -> None:
    launcher = (out / "vendor/bin/tee-device-plugin").read_text()
    assert launcher.splitlines()[0] == f"#!{sys.executable} -I"
    moved = launcher.replace(f'"/{SITE}"', f'"{out / SITE}"')
    result = run(sys.executable, "-I", "-c", moved)
    assert result.returncode == 3
    assert result.stdout.strip() == str(out / SITE / "teeplugin" / "__main__.py")


def test_without_the_vendors_files_the_image_can_be_made_too(tmp_path: Path) -> None:
    result = assemble(context(tmp_path / "context", PACKED), tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        ({}, "has no teeplugin: build it with make executable"),
        ({**PACKED, f"site-packages/native/_lost{FOREIGN[0]}": ""}, "has no _lost for files that"),
    ],
)
def test_an_executable_that_wont_do_is_refused_in_one_line(
    packed: dict[str, str], words: str, tmp_path: Path
) -> None:
    result = assemble(context(tmp_path / "context", packed), tmp_path / "out")
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_what_is_no_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    directory = context(tmp_path / "context", {})
    (directory / "tee-device-plugin").write_text("#!/bin/sh\n")
    result = assemble(directory, tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.startswith("error: tee-device-plugin: ")
    assert result.stderr.count("\n") == 1


# The bill of materials


def bill(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        (out / "usr/share/tee-device-plugin/sbom.cdx.json").read_text()
    )
    return read


def test_the_bill_is_valid_cyclonedx(out: Path) -> None:
    text = (out / "usr/share/tee-device-plugin/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_the_bill_names_packages_with_what_they_need_and_the_vendors_files(out: Path) -> None:
    read = bill(out)
    assert read["metadata"]["component"]["purl"] == "pkg:pypi/teeplugin@1.2"
    by_name = {one["name"]: one for one in read["components"]}
    assert by_name["native_parts"]["purl"] == "pkg:pypi/native-parts@1.2"
    assert by_name["native_parts"]["licenses"] == [{"expression": "MIT"}]
    assert by_name["/usr/lib64/libteec.so"]["hashes"][0]["alg"] == "SHA-256"
    assert "/data/ours.sec" in by_name
    needs = {one["ref"]: one["dependsOn"] for one in read["dependencies"]}
    assert needs["pkg:pypi/teeplugin@1.2"] == ["pkg:pypi/native-parts@1.2"]


def test_the_same_content_makes_the_same_bill(out: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert assemble(tmp_path / "context", again).returncode == 0
    assert bill(again) == bill(out)
