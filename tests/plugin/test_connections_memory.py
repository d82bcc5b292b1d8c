"""What the plugin keeps of its clients: no copy of a list, and nothing of calls that ended."""

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import AsyncExitStack

import grpc.aio
import pytest
from hyperframe.frame import GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

from teeplugin.connections import protocol
from teeplugin.connections.frames import FRAME_COST
from tests.hostile import wire
from tests.hostile.wire import HELLO, connected
from tests.plugin.good_client import Socket, answered, plugin
from tests.waiting import eventually

__all__ = ["plugin"]  # the fixture

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

MIB = 1024**2
NO_WINDOW = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def kept_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("traced")
async def test_streams_that_dont_take_a_long_list_share_its_bytes(plugin: Socket) -> None:
    plugin.parts.list_units(60_000)
    listing = plugin.parts.listings.value
    assert listing is not None
    assert len(listing.frame) > MIB
    before = kept_bytes()
    async with AsyncExitStack() as clients:
        for _ in range(20):
            client = await clients.enter_async_context(connected(plugin.path))
            await client.send(wire.PREFACE + NO_WINDOW + wire.call(1, "ListAndWatch"))
        await eventually("all are sent it", lambda: plugin.sending >= 20)
        assert kept_bytes() - before < 5 * len(listing.frame)


@pytest.mark.usefixtures("traced")
async def test_requests_of_clients_that_left_are_dropped(plugin: Socket) -> None:
    head = b"\0" + (3 * MIB).to_bytes(4, "big")
    before = kept_bytes()
    for _ in range(12):
        async with connected(plugin.path) as client:
            await client.send(HELLO)
            for stream in (1, 3, 5, 7):
                begun = wire.headers(stream, wire.header_block()) + wire.data(stream, head)
                await client.send(begun + wire.data(stream, bytes(15_000)) * 4)
            await eventually(
                "all are held", lambda: plugin.server.held.total_bytes, until=(12 * MIB).__eq__
            )
        await plugin.only_the_good_one_is_left()
    # Of each call the last piece may still be a local of its task, for a while; of 12 clients.
    assert kept_bytes() - before < 1.2 * MIB


async def test_what_follows_a_calls_message_is_dropped(plugin: Socket) -> None:
    async with connected(plugin.path) as client:
        watch = wire.headers(1, wire.header_block("ListAndWatch")) + wire.data(1, wire.message(b""))
        await client.send(HELLO + watch)
        await answered(client, HeadersFrame)
        await client.send(wire.data(1, bytes(300)) * 200)
        ours = max(plugin.server._connections, key=lambda each: each.opened)
        await eventually("it is all read", lambda: ours.debtor.debt > 200 * FRAME_COST)
        (stream,) = ours.calls._live
        assert stream.buffer._unacked.empty()
    await plugin.is_well()


async def test_a_goaway_of_who_doesnt_read_ends_the_connection_for_good(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_CALL_SECONDS", 0.2)
    async with connected(plugin.path) as client, connected(plugin.path) as silent:
        await client.send(HELLO + PingFrame(0, b"12345678").serialize() * 900)
        await client.send(GoAwayFrame(0).serialize())
        await silent.until_closed()
        await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_a_long_request_takes_turns_with_others_and_doesnt_wait_for_their_ends(
    plugin: Socket,
) -> None:
    plugin.parts.list_units(60_000)
    async with grpc.aio.insecure_channel(f"unix:{plugin.path}") as greedy:
        allocate = greedy.unary_unary("/v1beta1.DevicePlugin/Allocate")
        at_it = [allocate(wire.allocate(range(60_000))) for _ in range(4)]
        await eventually("it is at it", lambda: plugin.server.held.total_bytes)
        await plugin.allocate(400)
        assert not all(call.done() for call in at_it)
        assert [bool(await call) for call in at_it] == [True] * 4
    assert plugin.server.held.total_bytes == 0
