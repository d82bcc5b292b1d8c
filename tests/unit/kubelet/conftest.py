"""Where these tests' kubelet and plugin meet."""

from pathlib import Path

import pytest


@pytest.fixture
def directory(kubelet_dir: Path) -> Path:
    return kubelet_dir / "device-plugins"
