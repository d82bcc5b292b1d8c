"""The cluster tests' fixture `lab`, and their options: versions, and --keep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab
from tests.cluster.versions import (
    KUBERNETES_VARIABLE,
    RUNTIME_VARIABLE,
    Versions,
    add_runtime_options,
)
from tests.needs import unavailable
from tests.system_packages import UnavailableError

_TEST_SECONDS = 300
_NEED_NO_CDI = ("test_dra_without_cdi.py", "test_limits_without_cdi.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep",
        action="store_true",
        help="leave the cluster running, and use the one that runs",
    )
    parser.addoption("--kubernetes", metavar="VERSION", help="the kubelet's version: 1.33.13")
    add_runtime_options(parser.addoption)


def pytest_configure(config: pytest.Config) -> None:
    # Into the environment, so that a lab that a test starts by a command has the same.
    for option, variable in (("kubernetes", KUBERNETES_VARIABLE), ("runtime", RUNTIME_VARIABLE)):
        if chosen := config.getoption(option, default=None):
            os.environ[variable] = chosen


def pytest_report_header() -> str | None:
    """Name what is left out: it is about another runtime than this lab's."""
    has_cdi = Versions.from_environment().has_cdi
    names = ", ".join(_NEED_NO_CDI)
    return f"left out: {names}, run them with --containerd 1.6" if has_cdi else None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what is about another runtime; None leaves the rest to pytest."""
    is_other = collection_path.name in _NEED_NO_CDI and Versions.from_environment().has_cdi
    return True if is_other else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker(pytest.mark.cluster)
        if config.pluginmanager.hasplugin("timeout") and not item.get_closest_marker("timeout"):
            # The test's own time only: its fixture may build Kubernetes, and has deadlines.
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def lab(
    pytestconfig: pytest.Config, record_testsuite_property: Callable[[str, object], None]
) -> Iterator[Lab]:
    """Give a running cluster without pods: one for the whole session."""
    keep = pytestconfig.getoption("--keep", default=False)
    lab = _prepared(pytestconfig)
    try:
        if not keep:
            lab.down()
        lab.up()
        lab.delete_all_pods()
        for name, value in lab.node()["status"]["nodeInfo"].items():
            record_testsuite_property(name, value)
        yield lab
        record_testsuite_property("pods", len(lab.pods_run))
    finally:
        if keep:
            lab.release()
        else:
            lab.down()


def _prepared(config: pytest.Config) -> Lab:
    """Make a lab with all its parts at hand; skip the tests where one can't be had."""
    try:
        lab = Lab()
        capture = config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():  # a build of minutes should be seen
            lab.prepare()
    except UnavailableError as error:
        unavailable(str(error))
    return lab
