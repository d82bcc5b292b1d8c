"""check.sh: what is missing for the image, and where to get it."""

import platform
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, elf, run

UUID = "e3d37f4a-f24c-48d0-8884-3bdd6c44e988"
ALL = ("libteec.so", "libboundscheck.so", "libteememca.so", "tlogcat", "tee-limit")
OF_THE_HOOK = ("limits.sh", "tee-limit.service", "tee-limit.path", "tee-limit.timer")


def check(folder: Path, **variables: str) -> tuple[int, dict[str, str]]:
    """Run it: its status, and the line for each file by the file's name."""
    result = run("sh", DEPLOY / "docker" / "check.sh", folder, variables=variables)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    return result.returncode, {line[9:].split()[0].rstrip(";,"): line for line in lines}


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    (tmp_path / "tee-device-plugin").write_text("#!/bin/sh\n")
    (tmp_path / f"{UUID}.sec").write_bytes(b"signed")
    for name in ALL:
        (tmp_path / name).write_bytes(elf(platform.machine()))
    for name in OF_THE_HOOK:
        (tmp_path / name).touch()
    return tmp_path


def test_with_all_files_there_is_nothing_to_do(complete: Path) -> None:
    status, lines = check(complete)
    assert status == 0
    assert {line.split()[0] for line in lines.values()} == {"ok"}
    assert f"{UUID}.sec" in lines


def test_without_the_plugin_it_fails_and_says_how_to_build_it(complete: Path) -> None:
    (complete / "tee-device-plugin").unlink()
    status, lines = check(complete)
    assert status == 1
    assert lines["tee-device-plugin"].startswith("MISSING")
    assert "make executable" in lines["tee-device-plugin"]


@pytest.mark.parametrize(
    ("file", "source"),
    [
        (f"{UUID}.sec", "make application"),
        ("libteec.so", "/usr/lib64"),
        ("libboundscheck.so", "/usr/lib64"),
        ("tlogcat", "/usr/bin"),
        ("libteememca.so", "make library"),
        ("tee-limit", "make hook"),
    ],
)
def test_what_may_be_mounted_later_is_only_told(complete: Path, file: str, source: str) -> None:
    (complete / file).unlink()
    status, lines = check(complete)
    assert status == 0
    line = lines["<uuid>.sec" if file.endswith(".sec") else file]
    assert line.startswith("absent")
    assert source in line
    assert [*lines.values()][-1].endswith("a backend for another TEE needs none of it.")


@pytest.mark.parametrize("file", OF_THE_HOOK)
def test_the_hook_without_what_installs_it_is_told(complete: Path, file: str) -> None:
    (complete / file).unlink()
    status, lines = check(complete)
    assert status == 0
    assert lines[file].startswith("absent")
    assert "cp deploy/limits/limits.sh" in lines[file]
    (complete / "tee-limit").unlink()
    assert file not in check(complete)[1]


def test_a_hook_for_another_machine_says_how_to_build_it(complete: Path) -> None:
    (complete / "tee-limit").write_bytes(elf("riscv64"))
    _, lines = check(complete)
    assert f"make hook CC={platform.machine()}-linux-gnu-gcc" in lines["tee-limit"]


def test_op_tees_library_stands_for_itrustees(complete: Path) -> None:
    for name in ("libteec.so", "libboundscheck.so"):
        (complete / name).unlink()
    (complete / "libteec.so.2").write_bytes(elf(platform.machine()))
    status, lines = check(complete)
    assert status == 0
    assert {line.split()[0] for line in lines.values()} == {"ok"}


@pytest.mark.parametrize("file", [*ALL, "libteec.so.2"])
def test_a_file_from_a_machine_of_another_kind_fails(complete: Path, file: str) -> None:
    (complete / file).write_bytes(elf("riscv64"))
    status, lines = check(complete)
    assert status == 1
    assert lines[file].startswith("WRONG") or "WRONG" in str(lines)


def test_the_nodes_machine_may_be_another_than_this_one(complete: Path) -> None:
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[platform.machine()]
    assert check(complete, MACHINE=other)[0] == 1
    for name in ALL:
        (complete / name).write_bytes(elf(other))
    assert check(complete, MACHINE=other)[0] == 0
