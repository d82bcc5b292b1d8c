"""Fixtures: promtool, and the files of deploy/monitoring.

Where promtool can't be had, its tests are skipped with the reason, and fail under CI.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.monitoring import requirements
from tests.monitoring.promtool import Promtool
from tests.needs import unavailable


@pytest.fixture(scope="session")
def promtool_path() -> Path:
    try:
        return requirements.promtool()
    except requirements.UnavailableError as error:
        unavailable(str(error))


@pytest.fixture
def promtool(promtool_path: Path, tmp_path: Path) -> Promtool:
    return Promtool(promtool_path, tmp_path)
