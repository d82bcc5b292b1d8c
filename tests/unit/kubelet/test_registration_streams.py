"""A registration holds as long as the stream that the kubelet opened for it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import anyio
import anyio.lowlevel
import pytest
from grpclib.client import Channel

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.simulator import NEWEST, EventKind, SimulatedKubelet
from teeplugin.simulator.connection import PluginClient
from teeplugin.simulator.wire import DeviceList as SimulatedList
from tests.in_process import registering
from tests.unit.kubelet.registry import registry
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def foreign_stream(path: Path) -> AsyncIterator[None]:
    """A client that watches the list as well, and doesn't leave."""
    async with Channel(path=str(path)) as channel:
        frames = v1beta1.DevicePluginStub(channel).list_and_watch(v1beta1.Empty())
        await anext(frames)
        yield
        await frames.aclose()  # type: ignore[attr-defined]  # an async generator


async def test_the_kubelets_lost_stream_is_noticed_beside_a_foreign_one(
    kubelet_dir: Path, directory: Path
) -> None:
    async with SimulatedKubelet(kubelet_dir) as kubelet, registering(directory) as ours:
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        async with foreign_stream(ours.endpoint.path):
            # The kubelet's is the one of the two that was opened first.
            min(ours.streams._open.values(), key=lambda stream: stream.serial).end()
            await eventually(
                "registered again", lambda: kubelet.log.count(EventKind.REGISTERED) > 1
            )
            await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)


async def test_of_two_streams_opened_during_register_the_end_of_either_counts(
    directory: Path,
) -> None:
    ends: list[anyio.Event] = []

    async def dial_twice() -> None:
        """Two clients watch while the call is pending: which is the kubelet's can't be told."""
        for _ in range(2):
            ended = anyio.Event()
            ends.append(ended)
            background.start_soon(_watch_until, ours.endpoint.path, ended)
        await ours.streams.another(before + 1)

    async with anyio.create_task_group() as background, registering(directory) as ours:
        before = ours.streams.last_serial
        async with registry(directory / "kubelet.sock", dial_twice) as kubelet:
            await eventually("two streams", lambda: len(ours.streams) == 2)
            await eventually("allocated", lambda: len(kubelet.requests) == 1)
            ends[1].set()
            await eventually("told again", lambda: len(kubelet.requests) >= 2)
        background.cancel_scope.cancel()


async def _watch_until(path: Path, ended: anyio.Event) -> None:
    async with foreign_stream(path):
        await ended.wait()


async def test_a_stream_that_ended_before_register_was_answered_is_lost_at_once(
    directory: Path,
) -> None:
    async def watch_shortly() -> None:
        async with foreign_stream(ours.endpoint.path):
            pass

    async with (
        registering(directory) as ours,
        registry(directory / "kubelet.sock", watch_shortly) as kubelet,
    ):
        await eventually("told again", lambda: len(kubelet.requests) >= 2, 5)


async def test_a_kubelet_is_told_again_after_it_has_dealt_with_the_last_list(
    kubelet_dir: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teeplugin.kubelet.watch_streams.PROCESSING_SECONDS", 0.5)
    async with SimulatedKubelet(kubelet_dir) as kubelet, registering(directory) as ours:
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        processed_at = max(stream.processed_at for stream in ours.streams._open.values())
        ours.streams.end_all()
        await kubelet.wait_for(lambda: kubelet.log.count(EventKind.REGISTERED) == 2, 10)
        assert monotonic() >= processed_at


async def test_a_long_list_takes_the_kubelet_longer() -> None:
    with WatchStreams().opened() as stream:
        stream.sent(0)
        short = stream.processed_at
        stream.sent(4_194_304)
        # 0.4 s were seen with 220,000 devices.
        assert 1 < stream.processed_at - short < 3


async def test_a_new_kubelet_is_told_at_once_whatever_the_one_before_was_sent(
    kubelet_dir: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teeplugin.kubelet.watch_streams.PROCESSING_SECONDS", 3600)
    async with registering(directory):
        for _ in range(2):
            async with SimulatedKubelet(kubelet_dir) as kubelet:
                await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)


async def test_a_kubelet_that_still_counts_the_socket_as_connected_takes_another(
    kubelet_dir: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kubelet from 1.37 on would refuse the same socket, now and for as long as it runs."""
    monkeypatch.setattr("teeplugin.kubelet.registration.STEADY_SECONDS", 0)
    noticed = anyio.Event()
    watch = PluginClient.watch

    async def watch_and_be_busy(
        self: PluginClient, received: Callable[[SimulatedList], None]
    ) -> str:
        reason = await watch(self, received)
        await noticed.wait()
        return reason

    monkeypatch.setattr(PluginClient, "watch", watch_and_be_busy)
    async with SimulatedKubelet(kubelet_dir, profile=NEWEST) as kubelet:
        async with registering(directory) as ours:
            await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
            ours.registration.renew()
            await kubelet.wait_for(lambda: kubelet.log.count(EventKind.REGISTERED) == 2, 10)
            noticed.set()
            await kubelet.wait_for(lambda: kubelet.log.count(EventKind.STREAM_ENDED) == 1, 10)
            assert kubelet.allocatable() == 3
            assert kubelet.log.count(EventKind.REGISTRATION_REFUSED) == 0
        await kubelet.wait_for(lambda: kubelet.allocatable() == 0, 10)
