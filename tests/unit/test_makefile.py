"""The Makefile of the checkout, which makes the environment with a Python of the user's choice."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import need

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile alone."""
    need("compiler")
    folder = tmp_path / "checkout"
    folder.mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    return folder


def make_environment(checkout: Path, python: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", ".venv/bin/python", f"PYTHON={python}"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", ["python3", "an @, spaces, it's 中文"])
def test_the_python_that_is_named_may_be_at_any_path(checkout: Path, name: str) -> None:
    python = checkout.parent / name
    python.write_text(f'#!/bin/sh\necho "$*" >> {checkout}/asked\n')
    python.chmod(0o755)
    result = make_environment(checkout, python)
    assert (result.returncode, result.stderr) == (0, "")
    assert (checkout / "asked").read_text().splitlines()[-1] == "-m venv .venv"


def test_a_python_that_is_not_there_is_named_in_the_error(checkout: Path) -> None:
    result = make_environment(checkout, checkout / "it's not here")
    assert result.stderr.startswith(f"error: no Python found ({checkout}/it's not here): install")
