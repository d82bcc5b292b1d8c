"""The one-file executable, of the same form and small: where it unpacks, and what is in its way."""

import importlib.util
import subprocess
import sys
import zipfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.files import DEPLOY, run, tree
from tests.needs import unavailable

FOREIGN = ".cpython-310-sparc-linux-gnu.so"
PROGRAM = """\
import sys

def run():
    print(sys.argv[1:], __file__)
    sys.exit(3)
"""


@pytest.fixture
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", DEPLOY / "executable" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def executable(tmp_path: Path, build: ModuleType) -> Path:
    site = tmp_path / "site"
    (site / "teeplugin").mkdir(parents=True)
    (site / "teeplugin" / "__init__.py").touch()
    (site / "teeplugin" / "__main__.py").write_text(PROGRAM)
    for suffix in (EXTENSION_SUFFIXES[0], FOREIGN, ".so"):
        (site / "teeplugin" / f"native{suffix}").write_bytes(b"x" * 4096)
    path = tmp_path / "tee-device-plugin"
    build.write(path, build.packed(site))
    return path


def start(executable: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run(executable, "--a", "b", variables={"TEEPLUGIN_PYTHON": sys.executable, **variables})


def test_it_unpacks_what_this_python_needs_and_runs_it(executable: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in ("first", "second"):
        result = start(executable, SHIV_ROOT=str(cache))
        assert (result.returncode, result.stderr) == (3, "")
        assert result.stdout.startswith(f"['--a', 'b'] {cache}/")
    (unpacked,) = cache.iterdir()
    own = {path for path in tree(unpacked) if "__pycache__" not in path}
    assert own == {
        "tee-device-plugin",
        "site-packages/teeplugin/__init__.py",
        "site-packages/teeplugin/__main__.py",
        "site-packages/teeplugin/native.so",
        f"site-packages/teeplugin/native{EXTENSION_SUFFIXES[0]}",
    }


def test_a_start_does_not_unpack_again(executable: Path, tmp_path: Path) -> None:
    assert start(executable, HOME=str(tmp_path)).returncode == 3
    (unpacked,) = (tmp_path / ".cache" / "tee-device-plugin").iterdir()
    (unpacked / "site-packages" / "teeplugin" / "__main__.py").write_text(
        "def run(): print('kept')"
    )
    assert start(executable, HOME=str(tmp_path)).stdout == "kept\n"


def test_the_same_files_give_the_same_executable(
    executable: Path, tmp_path: Path, build: ModuleType
) -> None:
    build.write(tmp_path / "again", build.packed(tmp_path / "site"))
    assert (tmp_path / "again").read_bytes() == executable.read_bytes()
    with zipfile.ZipFile(executable) as archive:
        assert archive.testzip() is None


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    (line,) = result.stderr.splitlines()
    assert result.returncode == 1
    assert line.startswith("tee-device-plugin: ")
    assert "name a folder with SHIV_ROOT=" in line
    return line


@pytest.mark.parametrize("home", ["/proc/nowhere", __file__])
def test_a_home_that_is_none_is_told_in_one_line(executable: Path, home: str) -> None:
    assert f"can't unpack to {home}/.cache/" in complaint(start(executable, HOME=home))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("ro", "Read-only file system"),
        ("noexec", "is mounted noexec"),
        ("size=4k", "No space left on device"),
    ],
)
def test_a_disk_that_cannot_be_used_is_told_in_one_line(
    executable: Path, tmp_path: Path, options: str, words: str
) -> None:
    own_mounts = ("unshare", "--mount", "--map-root-user")
    if run(*own_mounts, "true").returncode:
        unavailable("mounts of a test's own: unshare --mount")
    home = tmp_path / "home"
    home.mkdir()
    script = f"mount -t tmpfs -o {options} test {home} && {executable}; status=$?; find {home}"
    variables = {"HOME": str(home), "TEEPLUGIN_PYTHON": sys.executable}
    result = run(*own_mounts, "sh", "-c", f"{script}; exit $status", variables=variables)
    assert words in complaint(result)
    if options != "noexec":
        assert "unpacking" not in result.stdout, "nothing is left behind"


def test_a_python_may_be_at_any_path(executable: Path, tmp_path: Path) -> None:
    odd = tmp_path / "an @, spaces, it's 中文"
    odd.symlink_to(sys.executable)
    result = start(executable, TEEPLUGIN_PYTHON=str(odd), SHIV_ROOT=str(tmp_path / "cache"))
    assert (result.returncode, result.stderr) == (3, "")


def test_without_a_python_it_is_said(executable: Path) -> None:
    result = start(executable, TEEPLUGIN_PYTHON="/nowhere/python3")
    assert result.returncode == 1
    assert "no Python 3.11 or newer is on PATH (/nowhere/python3)" in result.stderr
