"""Doctor enters a backend, asks it once and leaves it, whatever the backend does."""

import asyncio
import time

import anyio
import pytest

from teeplugin.commands.doctor import backend_query
from teeplugin.commands.doctor.backend_query import ask
from teeplugin.tee import guard
from teeplugin_backends.base import (
    BadReply,
    Finding,
    TimedOut,
)
from tests.unit.commands.doctored_backend import MEMORY, ROOT, Tee, raises

pytestmark = pytest.mark.anyio


# The backend


async def test_a_backend_is_entered_asked_once_and_left() -> None:
    tee = Tee()
    answer = await ask(tee, ROOT)
    assert tee.calls == ["enter", "memory", "access", "checks", "exit"]
    assert (answer.reading, answer.error, answer.bugs) == (MEMORY, None, [])
    assert (answer.host_paths, answer.missing_fix) == (("/dev/tee0",), "load it")
    assert [finding.check for finding in answer.findings] == ["library"]


async def test_without_a_reading_its_access_isnt_asked_but_its_checks_are() -> None:
    tee = Tee(memory=raises(TimedOut("no")))
    answer = await ask(tee, ROOT)
    assert tee.calls == ["enter", "memory", "checks", "exit"]
    assert isinstance(answer.error, TimedOut)
    assert (answer.reserve_bytes, answer.host_paths) == (None, None)


@pytest.mark.parametrize("name", ["memory", "enter"])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("surprise"),
        asyncio.CancelledError("surprise"),
        ExceptionGroup("two", [ValueError("surprise")]),
    ],
    ids=repr,
)
async def test_a_bug_is_a_bad_reply_with_a_fix(error: BaseException, name: str) -> None:
    tee = Tee(**{name: raises(error)})
    answer = await ask(tee, ROOT)
    assert isinstance(answer.error, BadReply)
    assert "a bug in the backend: " in str(answer.error)
    assert "surprise" in str(answer.error)
    assert answer.error.fix == "report it to its author"
    assert tee.calls[-1] == "exit"


async def test_what_is_no_reading_is_a_bug() -> None:
    answer = await ask(Tee(memory=lambda: 17), ROOT)
    assert isinstance(answer.error, BadReply)
    assert "TypeError: 17 is no TeeMemory" in str(answer.error)


async def test_a_default_reserve_that_is_no_number_of_bytes_is_a_bug_beside_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Tee, "default_reserve_bytes", -1)
    answer = await ask(Tee(), ROOT)
    assert (answer.reading, answer.reserve_bytes) == (MEMORY, None)
    assert "default_reserve_bytes is -1: must be a whole number, 0 or more" in answer.bugs[0]


@pytest.mark.parametrize("name", ["checks", "access", "exit"])
async def test_a_bug_beside_the_reading_leaves_the_reading(name: str) -> None:
    answer = await ask(Tee(**{name: raises(KeyError("surprise"))}), ROOT)
    assert answer.reading == MEMORY
    [bug] = answer.bugs
    assert "KeyError: 'surprise'" in bug


async def test_what_is_no_finding_is_a_bug_and_the_others_count() -> None:
    found = (Finding.ok("library", "there"), "odd")
    answer = await ask(Tee(checks=lambda: found), ROOT)
    assert answer.findings == [found[0]]
    assert answer.bugs == ["'odd' of checks() is no Finding"]
    assert (await ask(Tee(checks=lambda: None), ROOT)).bugs


async def test_whatever_hangs_is_given_up_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (backend_query, "QUERY_SECONDS"),
        (backend_query, "LOOK_SECONDS"),
        (guard, "CLOSE_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.1)
    for name in ("enter", "memory", "checks", "exit"):
        began = time.monotonic()
        answer = await ask(Tee(**{name: anyio.sleep_forever}), ROOT)
        assert time.monotonic() - began < 5
        told = str(answer.error) if name in ("enter", "memory") else answer.bugs[0]
        assert "() did not return within 0.1 s" in told
