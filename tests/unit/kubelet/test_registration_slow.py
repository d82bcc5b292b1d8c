"""A kubelet that takes its time is waited for: one call, one stream, and no second beside it.

The times are a hundredth of the real ones: a kubelet's answer after 5, 20 and 60 s, and ours of 15,
120 and 300 s.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup
from grpclib.client import Channel
from structlog.testing import capture_logs

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet import registration as registration_module
from tests.in_process import Registered, registering
from tests.unit.kubelet.registry import registry, said
from tests.unit.kubelet.test_registration_streams import foreign_stream
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

HUNDREDTH = 0.01
each_delay = pytest.mark.parametrize("seconds", [0.0, 5.0, 20.0, 60.0])


@pytest.fixture(autouse=True)
def _hundredth(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLOW_SECONDS", "LOCKED_SECONDS", "PENDING_SECONDS", "LOOK_SECONDS"):
        scaled = getattr(registration_module, name) * HUNDREDTH
        monkeypatch.setattr(registration_module, name, scaled)


async def _watch(ours: Registered) -> None:
    async with foreign_stream(ours.endpoint.path):
        await anyio.sleep_forever()


async def _still(what: str, observe: Callable[[], bool], seconds: float) -> None:
    """See that something holds for so long."""
    with anyio.move_on_after(seconds):
        while True:
            assert observe(), what
            await anyio.sleep(HUNDREDTH)


async def _answered_after(
    directory: Path, kubelet: Callable[[Registered, TaskGroup], Awaitable[None]]
) -> list[int]:
    """Register with a kubelet; the calls and streams a while after the first stream.

    What the kubelet starts in its task group outlives its answer.
    """
    async with anyio.create_task_group() as tasks, registering(directory) as ours:

        async def answer() -> None:
            await kubelet(ours, tasks)

        async with registry(directory / "kubelet.sock", answer) as server:
            await eventually("registered", lambda: ours.registration.status.registrations == 1)
            assert ours.registration.status.not_registered_reason is None
            await _still("one stream", lambda: len(ours.streams) == 1, 0.3)
            assert ours.registration.status.registrations == 1
            counts = [len(server.requests), len(ours.streams)]
        tasks.cancel_scope.cancel()
    return counts


@each_delay
async def test_an_answer_after_the_stream_is_waited_for_as_a_registration(
    directory: Path, seconds: float
) -> None:
    async def watch_then_answer(ours: Registered, tasks: TaskGroup) -> None:
        tasks.start_soon(_watch, ours)
        await eventually("registered", lambda: ours.registration.status.registrations == 1, 2)
        await anyio.sleep(seconds * HUNDREDTH)

    assert await _answered_after(directory, watch_then_answer) == [1, 1]


@each_delay
async def test_a_stream_at_the_end_of_a_slow_call_is_waited_for(
    directory: Path, seconds: float
) -> None:
    async def wait_then_watch(ours: Registered, tasks: TaskGroup) -> None:
        await anyio.sleep(seconds * HUNDREDTH)
        tasks.start_soon(_watch, ours)

    assert await _answered_after(directory, wait_then_watch) == [1, 1]


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0])
async def test_a_kubelet_that_answers_first_and_is_connected_may_watch_late(
    directory: Path, seconds: float
) -> None:
    dialled = anyio.Event()

    async def watch_late(ours: Registered) -> None:
        async with Channel(path=str(ours.endpoint.path)) as channel:
            stub = v1beta1.DevicePluginStub(channel)
            await stub.get_device_plugin_options(v1beta1.Empty())
            dialled.set()
            await anyio.sleep(seconds * HUNDREDTH)
            frames = stub.list_and_watch(v1beta1.Empty())
            await anext(frames)
            await anyio.sleep_forever()

    async def answer_then_watch(ours: Registered, tasks: TaskGroup) -> None:
        tasks.start_soon(watch_late, ours)
        await dialled.wait()

    assert await _answered_after(directory, answer_then_watch) == [1, 1]


@each_delay
async def test_an_answer_without_a_stream_is_a_failed_registration(
    directory: Path, seconds: float
) -> None:
    pending = 0

    async def answer() -> None:
        nonlocal pending
        pending += 1
        assert pending == 1, "a call beside one that is pending"
        await anyio.sleep(seconds * HUNDREDTH)
        pending -= 1

    with capture_logs() as logs:
        async with registering(directory), registry(directory / "kubelet.sock", answer) as kubelet:
            await eventually("a second call", lambda: len(kubelet.requests) >= 2)
    assert not said(logs, "registered")
    assert any("opened no ListAndWatch" in one["reason"] for one in said(logs, "not_registered"))


async def test_a_slow_kubelet_is_logged_once_and_is_no_failure(directory: Path) -> None:
    answer = anyio.Event()
    with capture_logs() as logs:
        async with (
            registering(directory) as ours,
            registry(directory / "kubelet.sock", answer.wait) as kubelet,
        ):
            await eventually("a call", lambda: kubelet.requests)
            await eventually(
                "the reason",
                lambda: "has not answered" in str(ours.registration.status.not_registered_reason),
            )
            await _still("one call", lambda: len(kubelet.requests) == 1, 0.3)
            assert ours.registration.status.failures == 0
            answer.set()
            await eventually("no stream", lambda: ours.registration.status.failures == 1)
    first, second = said(logs, "not_registered")[:2]
    assert "has not answered" in first["reason"]
    assert "opened no ListAndWatch" in second["reason"]


async def test_a_renewal_during_a_pending_call_makes_no_second_one(directory: Path) -> None:
    answer = anyio.Event()
    async with (
        registering(directory) as ours,
        registry(directory / "kubelet.sock", answer.wait) as kubelet,
    ):
        await eventually("a call", lambda: kubelet.requests)
        ours.registration.renew()
        async with foreign_stream(ours.endpoint.path):
            await eventually("registered", lambda: ours.registration.status.registrations)
            ours.registration.renew()
            status = ours.registration.status
            await _still("registered", lambda: status.not_registered_reason is None, 1.2)
        # The stream has ended, and the call is pending: the kubelet still works on it.
        await _still("one call", lambda: len(kubelet.requests) == 1, 0.3)
        answer.set()
        await eventually("a second call", lambda: len(kubelet.requests) >= 2)
