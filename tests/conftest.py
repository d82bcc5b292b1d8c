"""What all tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
def kubelet_dir() -> Iterator[Path]:
    """A short path, because a unix socket's may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="tee-"))
    (path / "device-plugins").mkdir()
    yield path
    shutil.rmtree(path)
