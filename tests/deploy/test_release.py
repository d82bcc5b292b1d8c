"""The release's own checks: what may be in its packages, the sums, and what it says it can't do."""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.files import DEPLOY, elf, run
from tests.needs import need, unavailable

ROOT = DEPLOY.parent
SCRIPT = DEPLOY / "release" / "release.py"
SOURCES = ("LICENSE", "teeplugin/__init__.py", "teeplugin/simulator/scenarios/tour.yaml")
ABOUT = "teeplugin-1.2.dist-info"
TOLD = [f"{ABOUT}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterable[dict[str, ModuleType]]:
    """The release's modules, which import each other as scripts do."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    names = ("chart", "contents", "emulation", "images", "release")
    yield {name: __import__(name) for name in names}
    for name in names:
        del sys.modules[name]


def packages(folder: Path, sources: Iterable[str], wheel: Iterable[str]) -> tuple[Path, Path]:
    made = folder / "teeplugin-1.2.tar.gz", folder / "teeplugin-1.2-py3-none-any.whl"
    (folder / "empty").touch()
    with tarfile.open(made[0], "w:gz") as archive:
        for name in sources:
            archive.add(folder / "empty", f"teeplugin-1.2/{name}")
    with zipfile.ZipFile(made[1], "w") as packed:
        for name in wheel:
            packed.writestr(name, "")
    return made


def problems(
    modules: dict[str, ModuleType], folder: Path, sources: Iterable[str], wheel: Iterable[str]
) -> list[str]:
    sdist, built = packages(folder, sources, wheel)
    return list(modules["contents"].problems(folder, sdist, built))


WHEEL = (*SOURCES[1:], *TOLD, f"{ABOUT}/licenses/LICENSE")


def test_packages_with_all_that_belongs_there_are_right(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    assert problems(modules, tmp_path, SOURCES, WHEEL) == []


def test_no_source_of_ours_looks_built_or_private(modules: dict[str, ModuleType]) -> None:
    ours = [
        str(path.relative_to(ROOT))
        for package in ("teeplugin", "teeplugin_backends", "protos", "tests")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".proto", ".yaml", ".yml", ".md", ".sh"}
    ]
    assert len(ours) > 500
    assert [name for name in ours if modules["contents"].is_stray(name)] == []


@pytest.mark.parametrize(
    ("sources", "wheel", "words"),
    [
        ((*SOURCES, "pkg/tee-device-plugin"), WHEEL, "which is built or private"),
        ((*SOURCES, ".ci/run"), WHEEL, "which is built or private"),
        ((*SOURCES, "ta/__pycache__/manifest.pyc"), WHEEL, "which is built or private"),
        (SOURCES, (*WHEEL, "tests/conftest.py"), "has tests/conftest.py, a stray"),
        (SOURCES, WHEEL[1:], "lacks teeplugin/__init__.py"),
        (SOURCES, WHEEL[:-1], f"lacks {ABOUT}/licenses/LICENSE"),
    ],
)
def test_what_is_stray_or_missing_is_named(
    sources: tuple[str, ...],
    wheel: tuple[str, ...],
    words: str,
    modules: dict[str, ModuleType],
    tmp_path: Path,
) -> None:
    (found,) = problems(modules, tmp_path, sources, wheel)
    assert words in found


def test_files_that_git_does_not_know_or_that_are_missing_are_named(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (tmp_path / "README.md").touch()
    (tmp_path / "LICENSE").touch()
    subprocess.run(["git", "-C", str(tmp_path), "add", "README.md", "LICENSE"], check=True)
    found = problems(modules, tmp_path, SOURCES, WHEEL)
    assert "teeplugin-1.2.tar.gz lacks README.md" in found
    assert "teeplugin-1.2.tar.gz has teeplugin/__init__.py, which git doesn't know" in found


def test_the_sums_are_those_of_all_files(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    (tmp_path / "b").write_text("b")
    (tmp_path / "a").write_text("a")
    for _ in range(2):
        modules["release"].write_sums(tmp_path)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert lines == [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}" for name in "ab"]


def test_only_an_earlier_release_is_removed(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").touch()
    (tmp_path / "teeplugin-1.0.tar.gz").touch()
    modules["release"].clear(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(modules["release"].ReleaseError, match=r"holds thesis\.tex"):
        modules["release"].clear(tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_an_archive_without_git_has_a_time_of_its_own(
    modules: dict[str, ModuleType], tmp_path: Path
) -> None:
    assert modules["release"].epoch(tmp_path) == modules["release"].EPOCH_WITHOUT_GIT


def test_without_buildah_it_says_so_before_it_builds_anything(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "kept").touch()
    words = (sys.executable, SCRIPT, tmp_path / "dist", "--machine", "x86_64")
    result = run(*words, variables={"PATH": str(tmp_path)})
    assert result.returncode == 1
    assert result.stderr == (
        "error: no image for x86_64: buildah is missing: install it; "
        "or leave images out: -- --no-image\n"
    )
    assert (tmp_path / "dist" / "kept").exists()


def test_a_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run(sys.executable, SCRIPT, tmp_path, "--base-tar", "sparc=none.tar")
    assert result.returncode == 2
    assert "sparc=none.tar: give x86_64 or aarch64=FILE" in result.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_image_is_made_with_the_hook_for_its_machine(
    modules: dict[str, ModuleType], tmp_path: Path, machine: str
) -> None:
    need("compiler", "cross compiler")
    (tmp_path / "executable").write_text("#!/bin/sh\n")
    made = [tmp_path / name / "context" for name in ("one", "another")]
    for folder in made:
        modules["images"].fill_context(machine, folder, tmp_path / "executable")
    hook, other = ((folder / "tee-limit").read_bytes() for folder in made)
    assert hook[:20] == elf(machine)[:16] + b"\x02\x00" + elf(machine)[18:]
    # The same wherever it was built; and static: nothing names a loader for it.
    assert hook == other
    assert b"/ld-linux" not in hook
    # All of it is taken into the image: the Dockerfile's own list of what may be.
    allowed = (DEPLOY / "docker" / ".dockerignore").read_text().splitlines()
    patterns = [line.removeprefix("!") for line in allowed if line.startswith("!")]
    for path in made[0].iterdir():
        named = any(fnmatch(path.name, pattern) for pattern in patterns)
        assert named or path.name in ("Dockerfile", ".dockerignore")
    checked = run("sh", made[0] / "check.sh", made[0], variables={"MACHINE": machine})
    assert checked.returncode == 0, checked.stdout
    for name in ("tee-limit", "limits.sh", "tee-limit.service", "tee-limit.path"):
        assert f"ok       {name}\n" in checked.stdout


def test_programs_of_another_machine_run_where_the_emulator_is(
    modules: dict[str, ModuleType],
) -> None:
    need("static emulator")
    if why := modules["emulation"].obstacle("aarch64"):
        unavailable(why)
    result = modules["emulation"].run(["aarch64", "cat", "/proc/self/uid_map"], {}, 30)
    assert (result.returncode, result.stdout.split()) == (0, ["0", "0", "4294967295"])
