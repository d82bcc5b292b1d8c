"""What all tests share."""

import os
import shutil
import tempfile
from collections import Counter
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


SKIPPED = pytest.StashKey[Counter[str]]()
LEFT_OUT = pytest.StashKey[Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only root can try, where anybody else runs the tests.

    No package would help, so these aren't skipped; they are counted like those.
    """
    marks = {item: item.get_closest_marker("only_root") for item in items}
    left_out = {item: mark for item, mark in marks.items() if mark and os.geteuid() != 0}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))
    config.stash[LEFT_OUT] = Counter(f"only root {mark.args[0]}" for mark in left_out.values())


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Count what was skipped, by its reason; in CI a skip would hide a gap, and is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of xdist's
        return
    reports = reporter.stats.get("skipped", [])
    session.config.stash[SKIPPED] = Counter(_reason(report.longrepr) for report in reports)
    if reports and os.environ.get("CI"):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say it in the last line, which is read when nothing else is."""
    if SKIPPED not in config.stash:
        return
    for reason, count in config.stash[SKIPPED].items():
        failed = ", which fails in CI" if os.environ.get("CI") else ""
        print(f"{count} skipped{failed}: {reason}")
    for reason, count in config.stash.get(LEFT_OUT, Counter()).items():
        print(f"{count} left out: {reason}")
    if not config.stash[SKIPPED]:
        print("0 skipped")


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ")
