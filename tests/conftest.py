"""What all tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.plugin_process import plain_environment
from tests.scratch import scratch_directory

# Tests are bounded by the time-out each of them has, not by how busy the machine is.
settings.register_profile("untimed", deadline=None, print_blob=True)
settings.load_profile("untimed")

# A usual one, whatever the shell's: the plugin takes no directory that others may write to.
os.umask(0o022)


@pytest.fixture
def anyio_backend() -> str:
    # grpclib and asyncinotify are asyncio's.
    return "asyncio"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to write files to, and the current one, so that lines begin with plain names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the shell's is a setting."""
    for name in os.environ.keys() - plain_environment().keys():
        monkeypatch.delenv(name)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A simulator's temporary directory."""
    with scratch_directory() as directory:
        yield directory


@pytest.fixture
def kubelet_dir() -> Iterator[Path]:
    """A short path, because a unix socket's may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="tee-"))
    (path / "device-plugins").mkdir()
    yield path
    shutil.rmtree(path)
