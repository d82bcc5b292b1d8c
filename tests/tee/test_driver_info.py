"""What the driver tells beside the query costs no reading, whatever becomes of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from teeplugin_backends.libteec import backend
from tests.tee.asking import (
    DEFAULT,
    Tee,
    made_tee,  # noqa: F401 - the fixture `tee`
)

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


@pytest.fixture
def memstat(tee: Tee, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tee.directory / "memstat"
    monkeypatch.setattr(backend, "MEMSTAT", str(path))
    return path


async def test_memory_by_application_is_read_in_the_same_query(tee: Tee, memstat: Path) -> None:
    memstat.write_text(
        "TotalMem:262144 Pmem:9 Free_Mem:5 Free_Mem_Min:3\n TA_Num:1\n"
        "ta_name:ours ta_pmem:10 pmem_max:20\n pmem_limit:0\n"
    )
    async with tee.backend("itrustee") as asked:
        assert asked.applications() == {}
        assert await asked.memory() == DEFAULT
        assert asked.applications() == {"ours": 10 * 4096}
        memstat.unlink()
        assert await asked.memory() == DEFAULT
        assert asked.applications() == {}


async def test_a_driver_that_hangs_there_costs_one_deadline_and_no_reading(
    tee: Tee, memstat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 1.0)
    os.mkfifo(memstat)
    async with tee.backend("itrustee") as asked:
        assert await asked.memory() == DEFAULT
        began = time.monotonic()
        assert await asked.memory() == DEFAULT
        assert time.monotonic() - began < 0.9
    await tee.no_helper_is_left()
