"""What only root can try is run by root, and left out and counted where anybody else runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RUN = """
import os, sys, pytest
os.geteuid = lambda: int(sys.argv[1])
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "--collect-only", *sys.argv[2:]]))
"""


@pytest.mark.parametrize(
    ("uid", "counted"),
    [
        (0, ["2 tests collected", "0 skipped"]),
        (65534, ["2 deselected", "2 left out: only root can become another user", "0 skipped"]),
    ],
    ids=["root", "nobody"],
)
def test_it_is_counted(uid: int, counted: list[str]) -> None:
    test = "tests/tee/test_ca.py::test_another_user_is_refused"
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(uid), test],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    for line in counted:
        assert line in result.stdout
