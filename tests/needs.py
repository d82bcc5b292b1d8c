"""What a test does where something is missing that it needs."""

import os
from typing import NoReturn

import pytest

from tests.system_packages import UnavailableError, ensure


def need(*parts: str) -> None:
    """Skip the test where one of these parts of the system is missing; under CI it fails."""
    try:
        ensure(parts)
    except UnavailableError as error:
        unavailable(str(error))


def unavailable(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI is set: there nothing is to be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have this: {reason}", pytrace=False)
    pytest.skip(reason)
