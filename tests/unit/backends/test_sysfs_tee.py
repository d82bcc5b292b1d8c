"""The page's example of a backend that reads files gives readings and the right kinds of fault."""

import asyncio
from pathlib import Path

import pytest

from teeplugin_backends.base import BadReply, Refused, TeeError, TeeMemory, Unreachable
from tests.unit.backends import sysfs_tee
from tests.unit.backends.sysfs_tee import SysfsTee


def tee(directory: Path, total: str, free: str) -> SysfsTee:
    (directory / "total").write_text(total, encoding="ascii")
    (directory / "free").write_text(free, encoding="ascii")
    return SysfsTee.from_options({"memory": str(directory)})


def test_two_files_are_a_reading(tmp_path: Path) -> None:
    reading = asyncio.run(tee(tmp_path, "1073741824\n", "805306368\n").memory())
    assert reading == TeeMemory(1073741824, 805306368)


@pytest.mark.parametrize(("total", "free"), [("", "1\n"), ("many\n", "1\n"), ("1\n", "2\n")])
def test_impossible_figures_are_a_bad_reply(tmp_path: Path, total: str, free: str) -> None:
    with pytest.raises(BadReply):
        asyncio.run(tee(tmp_path, total, free).memory())


def test_a_missing_file_is_unreachable(tmp_path: Path) -> None:
    well = tee(tmp_path, "2\n", "1\n")
    (tmp_path / "free").unlink()
    with pytest.raises(Unreachable, match=r"there is no .*free"):
        asyncio.run(well.memory())


@pytest.mark.parametrize(
    ("error", "kind"),
    [(PermissionError(13, "denied", "total"), Refused), (OSError(5, "I/O error"), BadReply)],
)
def test_a_file_that_cant_be_read_is_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[TeeError]
) -> None:
    def fails(_file: Path) -> int:
        raise error

    well = tee(tmp_path, "2\n", "1\n")
    monkeypatch.setattr(sysfs_tee, "_number", fails)
    with pytest.raises(kind):
        asyncio.run(well.memory())
