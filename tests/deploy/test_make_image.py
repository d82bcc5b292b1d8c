"""`make image`: which builder it takes, and what it gives it."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, checkout, elf, run
from tests.needs import need

TOOLS = ("sh", "cp", "uname", "od", "tr", "printf", "dirname", "cat")
RECORDS = '#!/bin/sh\nprintf "%s\\n" "${0##*/}" "$@"\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "checkout").mkdir()
    return checkout(tmp_path / "checkout", built={"tee-device-plugin": b"#!/bin/sh\n"})


def build(
    source: Path, *builders: str, **variables: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Build with these builders on PATH; what the one that was called was given."""
    programs = source.parent / "programs"
    programs.mkdir()
    for tool in TOOLS:
        path = shutil.which(tool)
        assert path is not None
        (programs / tool).symlink_to(path)
    for builder in builders:
        (programs / builder).write_text(RECORDS)
        (programs / builder).chmod(0o755)
    found = {"PATH": str(programs)} | variables
    result = run("/bin/sh", "deploy/docker/build.sh", cwd=source, variables=found)
    _, _, called = result.stdout.partition("build -t ")
    return result, called.partition("\n")[2].splitlines()


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (("docker", "podman", "buildah"), "buildah"),
        (("docker", "podman"), "podman"),
        (("docker",), "docker"),
    ],
)
def test_it_takes_the_builder_that_is_there(
    source: Path, there: tuple[str, ...], taken: str
) -> None:
    result, called = build(source, *there)
    assert result.returncode == 0
    assert called == [taken, "build", "-t", "tee-device-plugin:latest", "deploy/docker"]
    assert (source / "deploy" / "docker" / "tee-device-plugin").exists()


def test_what_it_copies_is_no_change_of_the_checkout(source: Path) -> None:
    need("git")
    folder = source / "deploy" / "docker"
    for name in ("tee-limit", "libteememca.so", "libteememca.so.1"):
        (source / "pkg" / name).write_bytes(elf(platform.machine()))
    before = {path.name for path in folder.iterdir()}
    assert build(source, "docker")[0].returncode == 0
    copied = sorted({path.name for path in folder.iterdir()} - before)
    assert {"tee-device-plugin", "limits.sh", "tee-limit", "tee-limit.path"} <= {*copied}
    shutil.copy(ROOT / ".gitignore", source)
    assert run("git", "init", "-q", cwd=source).returncode == 0
    asked = [f"deploy/docker/{name}" for name in copied]
    ignored = run("git", "check-ignore", *asked, cwd=source)
    assert ignored.stdout.splitlines() == asked


def test_builder_name_and_base_can_be_chosen(source: Path) -> None:
    _, called = build(
        source, "docker", "podman", BUILDER="docker", IMAGE="example/tee:1", BASE="other:2"
    )
    assert called == [
        *("docker", "build", "-t", "example/tee:1"),
        *("--build-arg", "BASE=other:2", "deploy/docker"),
    ]


def test_for_other_machines_the_files_have_to_be_theirs(source: Path) -> None:
    (source / "pkg" / "libteec.so").write_bytes(elf("aarch64"))
    _, called = build(source, "docker", PLATFORM="linux/arm64")
    assert called[-3:] == ["--platform", "linux/arm64", "deploy/docker"]
    shutil.rmtree(source.parent / "programs")
    result, called = build(source, "docker", PLATFORM="linux/amd64")
    assert result.returncode == 1
    assert called == []


def test_without_a_builder_it_says_which_there_are(source: Path) -> None:
    result, called = build(source)
    assert result.returncode == 1
    assert called == []
    assert result.stderr.startswith("error: none of buildah, podman and docker is here")


def test_nothing_is_built_from_files_that_wont_do(source: Path) -> None:
    (source / "pkg" / "libteec.so").write_text("no library")
    result, called = build(source, "docker")
    assert result.returncode == 1
    assert called == []
    assert "libteec.so" in result.stdout


@pytest.mark.parametrize("name", ["docker", "demo"])
def test_the_default_base_names_its_registry(name: str) -> None:
    """Buildah on Debian knows no registry to look a short name up in."""
    text = (DEPLOY / name / "Dockerfile").read_text(encoding="utf-8")
    registry, *path = text.partition("ARG BASE=")[2].split("\n")[0].split("/")
    assert "." in registry
    assert path
