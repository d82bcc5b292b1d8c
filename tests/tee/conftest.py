"""Fixtures of the C side: the built libraries, once a session, and clients with a chosen identity.

Where a compiler or emulator is missing, its tests are skipped with the reason, and fail under CI.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.needs import need, unavailable
from tests.tee.build import USER, Built, build
from tests.tee.clients import Client
from tests.tee.limits import Limits
from tests.tee.teecd import MockTeecd


@pytest.fixture(scope="session")
def tee_build_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tee")


@pytest.fixture(scope="session")
def built(tee_build_root: Path) -> Built:
    """The test library, our client library and the test programs, for this machine."""
    need("compiler")
    if not USER:
        unavailable("the user who runs the tests has no entry in /etc/passwd: iTrustee admits none")
    return build(tee_build_root / "plain")


@pytest.fixture(scope="session")
def built_with_sanitizers(tee_build_root: Path) -> Built:
    need("compiler")
    return build(tee_build_root / "sanitized", sanitizers=("address", "undefined"))


@pytest.fixture(scope="session")
def built_for_aarch64(tee_build_root: Path) -> Built:
    need("compiler", "cross compiler")
    return build(tee_build_root / "aarch64", cc="aarch64-linux-gnu-gcc")


@pytest.fixture(scope="session")
def running_teecd(tee_build_root: Path) -> Iterator[MockTeecd]:
    """A mock teecd for all tests that do nothing to it."""
    with MockTeecd(tee_build_root / "teecd.sock") as running:
        yield running


@pytest.fixture
def client(tmp_path: Path) -> Callable[[Built], Client]:
    """Give a maker of native clients, each with a state file, a record and a .sec of its own."""

    def make(built: Built) -> Client:
        return Client.prepare(built, tmp_path)

    return make


@pytest.fixture(scope="session")
def built_limits(tee_build_root: Path) -> Limits:
    """The hook tee-limit, with its paths below a folder, and the mock of the vendor's tool."""
    need("compiler")
    directory = (tee_build_root / "limits").resolve()
    directory.mkdir()
    return Limits(directory)


@pytest.fixture
def limits(built_limits: Limits) -> Limits:
    """Give the same, with an empty TEE and without records."""
    built_limits.reset()
    return built_limits
