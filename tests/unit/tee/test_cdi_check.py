"""What is found out about CDI before a pod is admitted."""

import json
import os
from pathlib import Path

import pytest

from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.cdi_spec import FILE, Hook, specification
from teeplugin.policy.decide import CDI_SPECIFICATION, KUBELET_WITHOUT_CDI
from teeplugin.tee.cdi_check import LARGEST_BYTES, CdiCheck, Specification
from teeplugin_backends.base import ContainerAccess

UNIT = 512 * 1024


def write(host_root: Path, units: int = 4, unit_bytes: int = UNIT) -> Path:
    path = host_root / FILE.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = specification(ContainerAccess(), units, unit_bytes, "huawei.com/tee-ram", Hook())
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.rename(path)
    return path


def problem(host_root: Path, units: int = 4) -> str:
    found = Specification(host_root).mismatch(units, UNIT, limited=True)
    assert found is not None
    assert found.fix
    return found.problem


def test_a_specification_that_fits_is_no_problem(tmp_path: Path) -> None:
    write(tmp_path)
    assert Specification(tmp_path).mismatch(4, UNIT, limited=True) is None


def test_one_that_is_not_there_is_named_by_its_path(tmp_path: Path) -> None:
    assert problem(tmp_path).startswith(f"{tmp_path}{FILE} can't be read (No such file")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b"{}", b"null"])
def test_one_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    write(tmp_path).write_bytes(content)
    assert "is not a CDI specification" in problem(tmp_path)


def test_one_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    os.truncate(write(tmp_path), LARGEST_BYTES + 1)
    assert "is not a CDI specification" in problem(tmp_path)


def test_a_directory_in_its_place_is_told(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.unlink()
    path.mkdir()
    assert "can't be read (Is a directory)" in problem(tmp_path)


def test_another_file_and_another_question_are_judged_anew(tmp_path: Path) -> None:
    write(tmp_path)
    known = Specification(tmp_path)
    assert known.mismatch(4, UNIT, limited=True) is None
    assert known.mismatch(5, UNIT, limited=True) is not None
    write(tmp_path, 5)
    assert known.mismatch(5, UNIT, limited=True) is None
    assert known.mismatch(5, 2 * UNIT, limited=True) is not None


def test_a_file_that_is_as_it_was_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path)
    known = Specification(tmp_path)
    assert known.mismatch(4, UNIT, limited=True) is None
    monkeypatch.setattr(Specification, "_read", None)
    assert known.mismatch(4, UNIT, limited=True) is None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("user_agent", "is_old"),
    [
        ("grpc-go/1.54.0", True),
        ("grpc-go/1.56.3", True),
        ("grpc-go/1.58.3", False),
        ("grpc-go/1.72.1-dev", False),
        ("grpc-go/2.0.0", False),
        ("grpc-python-asyncio/1.54.0", False),
        ("", False),
    ],
)
async def test_a_kubelet_before_1_29_is_known_by_its_library(
    tmp_path: Path, user_agent: str, is_old: bool
) -> None:
    write(tmp_path)
    streams = WatchStreams()
    check = CdiCheck(tmp_path, streams)
    assert check.cause(4, UNIT, limited=True) is None
    with streams.opened(user_agent):
        found = check.cause(4, UNIT, limited=True)
        assert (found is not None and found.kind == KUBELET_WITHOUT_CDI) == is_old
    assert check.cause(4, UNIT, limited=True) is None


def test_a_specification_that_does_not_fit_is_the_cause(tmp_path: Path) -> None:
    found = CdiCheck(tmp_path, WatchStreams()).cause(4, UNIT, limited=True)
    assert found is not None
    assert found.kind == CDI_SPECIFICATION
