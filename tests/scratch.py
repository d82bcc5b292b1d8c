"""A simulator's temporary directory, and whether it has left anything there or running."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Make one with a short path: pytest's are too long for the unix sockets below them."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        directory = Path(name, "d")
        directory.mkdir()
        yield directory


def assert_nothing_left(scratch: Path) -> None:
    """See that the directory is empty, and no process works with it."""
    assert list(scratch.iterdir()) == []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert bytes(scratch) not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
