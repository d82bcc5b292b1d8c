"""What a backend tells of changes becomes readings, at a limited rate, and its errors one line."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import cast

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from teeplugin.policy.decide import Cause, Decision, PolicySettings
from teeplugin.tee import node_events
from teeplugin.tee.node_events import NodeEvents
from teeplugin_backends.base import TeeBackend
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


Tell = Callable[[], AsyncGenerator[None, None]]


class Told:
    """Tells of changes as the test says; nothing else of a backend is needed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    async def changes(self, host_root: Path) -> AsyncGenerator[None, None]:
        assert host_root == Path("/host")
        async for _ in self._tell():
            yield


class Asked:
    """Notes when it was to read the TEE; each reading has the cause that `causes` says next."""

    def __init__(self, interval_seconds: float = 60, causes: list[str] | None = None) -> None:
        self.decision = Decision()
        self.policy_settings = PolicySettings(1, 0, interval_seconds)
        self.at: list[float] = []
        self._causes = iter(causes or ())

    def query_now(self) -> None:
        self.at.append(anyio.current_time())
        if kind := next(self._causes, ""):
            self.decision = Decision(cause=Cause(kind, "it is down", "start it"))
        else:
            self.decision = Decision()


def following(tell: Tell, poller: Asked) -> NodeEvents:
    return NodeEvents(cast("TeeBackend", Told(tell)), Path("/host"), poller)


async def all_the_time() -> AsyncGenerator[None, None]:
    while True:
        await anyio.lowlevel.checkpoint()
        yield


async def for_a_while(
    tell: Callable[[], AsyncGenerator[None, None]],
    poller: Asked,
    until: Callable[[], Awaitable[None]],
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(following(tell, poller).run)
        await until()
        tasks.cancel_scope.cancel()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_events, "LEAST_SECONDS", 0.01)
    monkeypatch.setattr(node_events, "MOST_SECONDS", 0.16)


@pytest.mark.usefixtures("quick")
async def test_the_first_change_is_followed_at_once_and_useless_ones_ever_more_rarely() -> None:
    poller, began = Asked(), anyio.current_time()

    async def enough() -> None:
        await eventually("readings", lambda: poller.at, until=lambda at: len(at) == 10)

    await for_a_while(all_the_time, poller, enough)
    assert poller.at[0] - began < 0.1
    waits = [after - before for before, after in zip(poller.at, poller.at[1:], strict=False)]
    assert min(waits[:4]) >= 0.01
    assert waits[5] >= 0.04
    assert waits[-1] >= 0.16


@pytest.mark.usefixtures("quick")
async def test_changes_that_are_worth_a_reading_are_followed_as_quickly_as_before() -> None:
    poller = Asked(causes=["unreachable", ""] * 10)

    async def enough() -> None:
        await eventually("readings", lambda: poller.at, until=lambda at: len(at) == 12)

    began = anyio.current_time()
    await for_a_while(all_the_time, poller, enough)
    # With useless ones it would be 0.16 s each from the ninth on.
    assert anyio.current_time() - began < 0.16 * 3 + 0.2


async def test_with_interval_0_no_change_is_followed() -> None:
    seen = []

    async def three() -> AsyncGenerator[None, None]:
        for number in range(3):
            yield
            seen.append(number)

    poller = Asked(interval_seconds=0)
    await following(three, poller).run()
    assert seen == [0, 1, 2]
    assert poller.at == []


@pytest.mark.parametrize(
    ("error", "words", "fix"),
    [
        (OSError(24, "Too many open files"), "Too many open files", "raise fs.inotify"),
        (RuntimeError("oh"), "changes() raised RuntimeError: oh", "report it to its author"),
    ],
)
async def test_a_node_that_is_not_watched_is_logged_once_with_what_it_means(
    error: Exception, words: str, fix: str
) -> None:
    async def fails() -> AsyncGenerator[None, None]:
        yield
        raise error

    poller = Asked()
    with capture_logs() as logs:
        await following(fails, poller).run()
    assert len(poller.at) == 1
    (entry,) = [line for line in logs if line["event"] == "node_not_watched"]
    assert words in entry["error"]
    assert entry["fix"].startswith(fix)
    assert "health interval" in entry["effect"]
