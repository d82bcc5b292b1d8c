"""What a build calls itself, in repositories and without one, and that all of it agrees."""

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.files import ROOT

NAMED = '"""A package."""\n\n__version__ = "1.2.3"\n'

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(folder: Path, *words: str) -> str:
    settings = (
        "user.name=a",
        "user.email=a@b.example",
        "commit.gpgsign=false",
        "init.defaultBranch=a",
    )
    options = [word for setting in settings for word in ("-c", setting)]
    command = ["git", "-C", str(folder), *options, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "--message=One more")
    return git(folder, "rev-parse", "--short=12", "HEAD")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the file that names the version, not yet a repository."""
    (tmp_path / "source" / "teeplugin").mkdir(parents=True)
    (tmp_path / "source" / "teeplugin" / "__init__.py").write_text(NAMED)
    return tmp_path / "source"


@pytest.fixture
def repository(source: Path) -> Path:
    git(source, "init", "--quiet")
    git(source, "add", ".")
    commit(source)
    return source


def test_without_a_repository_it_is_the_version_of_the_file(source: Path, hook: ModuleType) -> None:
    assert hook.version(source) == "1.2.3"


@needs_git
def test_a_repository_further_up_says_nothing(
    source: Path, tmp_path: Path, hook: ModuleType
) -> None:
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    assert hook.version(source) == "1.2.3"


@needs_git
def test_the_tagged_commit_is_the_release(repository: Path, hook: ModuleType) -> None:
    git(repository, "tag", "v1.2.3")
    assert hook.version(repository) == "1.2.3"


@needs_git
@pytest.mark.parametrize("tag", ["v1.2.3", "v1.2.2", "1.2.3"])
def test_another_commit_says_which_it_is(tag: str, repository: Path, hook: ModuleType) -> None:
    git(repository, "tag", tag)
    commit(repository)
    head = commit(repository)
    # Another release's tag is none: it counts from the beginning.
    count = 2 if tag == "v1.2.3" else 3
    assert hook.version(repository) == f"1.2.3+{count}.g{head}"


@needs_git
def test_files_that_were_changed_since_are_told(repository: Path, hook: ModuleType) -> None:
    git(repository, "tag", "v1.2.3")
    head = git(repository, "rev-parse", "--short=12", "HEAD")
    (repository / "teeplugin" / "__init__.py").write_text(NAMED + "# changed\n")
    assert hook.version(repository) == f"1.2.3+0.g{head}.dirty"


@needs_git
def test_an_unpacked_build_in_a_repository_has_one_local_version(
    source: Path, hook: ModuleType
) -> None:
    named = source / "teeplugin" / "__init__.py"
    named.write_text(NAMED.replace("1.2.3", "1.2.3+9.gabc"))
    assert hook.version(source) == "1.2.3+9.gabc"
    git(source, "init", "--quiet")
    git(source, "add", ".")
    head = commit(source)
    assert hook.version(source) == f"1.2.3+1.g{head}"


def test_a_repository_that_cannot_be_read_makes_no_release(source: Path, hook: ModuleType) -> None:
    (source / ".git").write_text("gitdir: /nowhere\n")
    assert hook.version(source) == "1.2.3+unknown"


def test_what_is_built_says_the_same_everywhere(tmp_path: Path, hook: ModuleType) -> None:
    built = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, capture_output=True, check=True)
    version = hook.version()
    with zipfile.ZipFile(tmp_path / f"teeplugin-{version}-py3-none-any.whl") as wheel:
        module = wheel.read("teeplugin/__init__.py").decode()
        metadata = wheel.read(f"teeplugin-{version}.dist-info/METADATA").decode()
    assert f'\n__version__ = "{version}"\n' in module
    assert f"\nVersion: {version}\n" in metadata
    with tarfile.open(tmp_path / f"teeplugin-{version}.tar.gz") as archive:
        packed = archive.extractfile(f"teeplugin-{version}/teeplugin/__init__.py")
        assert packed is not None
        assert packed.read().decode() == module
