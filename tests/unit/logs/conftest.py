"""Gives other tests the logging they expect."""

import logging
import sys
from collections.abc import Iterator

import pytest
import structlog

from teeplugin.logs.stdlib import Router


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Give other tests the logging they expect."""
    root = logging.getLogger()
    level = root.level
    hook = sys.unraisablehook
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, Router)]
    logging.getLogger("hpack").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    sys.unraisablehook = hook
