"""The cluster tests' fixture `lab`, and the option --keep that leaves the cluster running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab
from tests.needs import unavailable
from tests.system_packages import UnavailableError

_TEST_SECONDS = 300


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--keep",
        action="store_true",
        help="leave the cluster running, and use the one that runs",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker(pytest.mark.cluster)
        if config.pluginmanager.hasplugin("timeout") and not item.get_closest_marker("timeout"):
            # The test's own time only: its fixture may build Kubernetes, and has deadlines.
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS, func_only=True))


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """Give a running cluster without pods: one for the whole session."""
    keep = pytestconfig.getoption("--keep", default=False)
    lab = _prepared(pytestconfig)
    try:
        if not keep:
            lab.down()
        lab.up()
        lab.delete_all_pods()
        yield lab
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
