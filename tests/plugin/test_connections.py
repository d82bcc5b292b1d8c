"""What the socket's clients may do, and which of them is cut with what; in the test's own process.

A good client on another connection, the kubelet's cousin, goes on through all of it.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from random import Random

import pytest
from grpclib.client import Channel
from h2.errors import ErrorCodes
from hpack import Decoder
from hyperframe.frame import HeadersFrame, PingFrame, RstStreamFrame, WindowUpdateFrame
from structlog.testing import capture_logs

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.connections import (
    MOST_CONNECTIONS,
    MOST_REQUEST_BYTES,
    calls,
    held,
    protocol,
    server,
)
from tests.hostile import acts, wire
from tests.hostile.wire import HELLO, connected
from tests.plugin.good_client import CUT_SECONDS, Socket, answered, plugin, sent
from tests.waiting import eventually

__all__ = ["plugin"]  # the fixture

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


async def farewell(plugin: Socket, act: acts.Act) -> int | None:
    """Do this until cut; the error code that the plugin says it with."""
    async with asyncio.timeout(CUT_SECONDS), connected(plugin.path) as client:
        with suppress(*wire.GONE):
            await act(client, Random(1))  # noqa: S311 - to be repeatable
        await client.until_closed()
        return client.farewell()


CUT = [
    (acts.garbage_before_the_preface, None),
    (acts.rapid_reset, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.pings, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.settings, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.endless_headers, ErrorCodes.PROTOCOL_ERROR),
    (acts.huge_headers, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.hpack_bomb, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.unknown_frames, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.priorities, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.empty_data, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.a_byte_a_frame, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.window_updates, ErrorCodes.ENHANCE_YOUR_CALM),
    (acts.window_overflow, ErrorCodes.FLOW_CONTROL_ERROR),
]


@pytest.mark.parametrize(("act", "code"), CUT, ids=lambda value: getattr(value, "__name__", ""))
async def test_who_does_their_worst_is_told_why_and_cut(
    plugin: Socket, act: acts.Act, code: int | None
) -> None:
    assert await farewell(plugin, act) == code
    await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_a_flood_whose_answers_nobody_reads_ends_as_well(plugin: Socket) -> None:
    assert await farewell(plugin, acts.pings_unread) in (None, ErrorCodes.ENHANCE_YOUR_CALM)
    await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_settings_that_nobody_registered_are_not_remembered(plugin: Socket) -> None:
    async with connected(plugin.path) as client:
        frames = [wire.settings(range(100 + at, 130 + at)) for at in (0, 30, 60)]
        await client.send(HELLO + b"".join(frames) + wire.call(1))
        await answered(client, HeadersFrame)
        kept = [set(one._h2.remote_settings) for one in plugin.server._connections if one._h2]
    assert [kind for kinds in kept for kind in kinds if kind >= 100] == []
    await plugin.is_well()


async def test_a_frame_over_the_size_that_was_agreed_on_isnt_waited_for(plugin: Socket) -> None:
    client = await sent(plugin, HELLO + wire.raw_frame(0, 0, 1, b"", length=16_385))
    assert client.farewell() == ErrorCodes.FRAME_SIZE_ERROR
    await plugin.is_well()


async def test_more_calls_at_a_time_than_were_agreed_on_end_the_connection(plugin: Socket) -> None:
    streams = range(1, 2 * calls.MOST_CALLS + 2, 2)
    block = wire.header_block()
    client = await sent(plugin, HELLO + b"".join(wire.headers(s, block) for s in streams))
    assert client.farewell() == ErrorCodes.PROTOCOL_ERROR
    await plugin.is_well()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (wire.data(1, b"\0\xff\xff\xff\xff", "END_STREAM"), b"8"),
        (wire.data(1, b"\0" + (MOST_REQUEST_BYTES + 1).to_bytes(4, "big")), b"8"),
        (wire.data(1, b"\1\0\0\0\0", "END_STREAM"), b"12"),
        (wire.data(1, b"\0\0\0\0\x09\x0a", "END_STREAM"), b"3"),
        (wire.data(1, b"\0\0\0\0\x09", "END_STREAM"), b"3"),
        (wire.data(1, b"\0\0", "END_STREAM"), b"3"),
        (wire.data(1, b"", "END_STREAM"), b"3"),
        (wire.data(1, wire.message(b"\x0a\xff"), "END_STREAM"), b"3"),
    ],
    ids=[
        *("4 GiB", "too long", "compressed", "cut short", "a head alone", "half a head", "none"),
        "no protobuf",
    ],
)
async def test_a_call_with_a_bad_message_gets_a_status_and_no_line_in_the_log(
    plugin: Socket, content: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.headers(1, wire.header_block()) + content)
        trailers = bytes((await answered(client, HeadersFrame)).data)
        assert dict(Decoder().decode(trailers, raw=True))[b"grpc-status"] == status
    assert [record.message for record in caplog.records if record.name.startswith("grpclib")] == []
    await plugin.is_well()


@pytest.mark.parametrize("missing", [":method", ":path"])
async def test_a_call_without_what_every_call_has_is_reset(plugin: Socket, missing: str) -> None:
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.headers(1, wire.header_block(**{missing: ""})))
        await answered(client, RstStreamFrame)
    await plugin.is_well()


async def test_who_never_calls_is_cut_and_who_watches_isnt(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "FIRST_CALL_SECONDS", 0.2)
    for said in (b"", b"PRI * H", HELLO, HELLO + b"\0\0\x10\x01"):
        client = await sent(plugin, said)
        assert client.farewell() in (None, ErrorCodes.NO_ERROR)
    await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_a_call_whose_message_doesnt_come_ends(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "REQUEST_SECONDS", 0.2)
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.headers(1, wire.header_block()) + wire.data(1, b"\0\0"))
        await answered(client, HeadersFrame)
    await plugin.only_the_good_one_is_left()
    await plugin.is_well()


@pytest.mark.parametrize("window", [wire.SETTINGS, acts.SMALL_WINDOW], ids=["socket", "window"])
async def test_who_takes_no_list_is_cut(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch, window: bytes
) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.2)
    plugin.parts.list_units(20_000)  # more than a socket takes in; the good client parses it too
    async with connected(plugin.path) as client:
        wide = WindowUpdateFrame(0, window_increment=2**30).serialize()
        await client.send(wire.PREFACE + window + wide + wire.call(1, "ListAndWatch"))
        await eventually("the list is on its way", lambda: plugin.sending)
        await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_who_holds_most_gives_way_where_requests_are_too_long_together(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MOST_HELD_BYTES", 1_000_000)

    def begun(size: int) -> bytes:
        promised = b"\0" + size.to_bytes(4, "big")
        return HELLO + wire.headers(1, wire.header_block()) + wire.data(1, promised)

    async with connected(plugin.path) as modest, connected(plugin.path) as greedy:
        await modest.send(begun(300_000))
        await eventually("the first is held", lambda: plugin.server.held.total_bytes)
        await greedy.send(begun(800_000))
        await greedy.until_closed()
        assert greedy.farewell() == ErrorCodes.ENHANCE_YOUR_CALM
        assert plugin.server.held.total_bytes == 300_000
    await plugin.only_the_good_one_is_left()
    await plugin.is_well()


async def test_a_new_client_comes_in_where_all_places_are_taken_by_idle_ones(
    plugin: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "YOUNG_SECONDS", 0.0)
    async with AsyncExitStack() as idle:
        for _ in range(2 * MOST_CONNECTIONS):
            await idle.enter_async_context(connected(plugin.path))
        await eventually(
            "all places taken",
            lambda: len(plugin.server._transports),
            until=MOST_CONNECTIONS.__eq__,
        )
        async with Channel(path=str(plugin.path)) as channel:
            stub = v1beta1.DevicePluginStub(channel)
            await stub.get_device_plugin_options(v1beta1.Empty(), timeout=5)
    await plugin.is_well()


async def test_where_all_have_calls_the_new_one_is_closed_and_none_of_them(
    plugin: Socket,
) -> None:
    async with AsyncExitStack() as watching:
        for _ in range(MOST_CONNECTIONS - 1):
            client = await watching.enter_async_context(connected(plugin.path))
            await client.send(HELLO + wire.call(1, "ListAndWatch"))
        await eventually(
            "all watch", lambda: len(plugin.parts.streams), until=MOST_CONNECTIONS.__eq__
        )
        assert (await sent(plugin, b"")).received == b""
        assert len(plugin.parts.streams) == MOST_CONNECTIONS
        await plugin.is_well()


async def test_a_kubelet_may_call_for_ever(plugin: Socket) -> None:
    """A PING and WINDOW_UPDATEs with each call are no flood, though there be thousands of them."""
    around = PingFrame(0, b"bdp ping").serialize() + b"".join(
        WindowUpdateFrame(stream, window_increment=84).serialize() for stream in (0, 1)
    )
    async with asyncio.timeout(15), connected(plugin.path) as client:
        await client.send(HELLO + wire.call(1, "ListAndWatch"))
        for stream in range(3, 3_003, 2):
            await client.send(wire.call(stream, content=wire.allocate([1])) + around)
            if stream % 20 == 3:
                seen = len(client.received)
                while len(client.received) == seen:
                    await client.read()
        assert client.farewell() is None


async def test_each_reason_is_logged_once_in_a_while(plugin: Socket) -> None:
    with capture_logs() as logged:
        for _ in range(5):
            await sent(plugin, b"GET / HTTP/1.1\r\n\r\n")
    assert [(entry["event"], entry["reason"]) for entry in logged] == [("clients_cut", "not-http2")]


async def test_frames_that_http2_says_are_to_be_ignored_are(plugin: Socket) -> None:
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.raw_frame(0xBE, 0, 0, b"?") + wire.call(1))
        await answered(client, HeadersFrame)
        assert client.farewell() is None


async def test_headers_that_are_no_text_end_the_connection(plugin: Socket) -> None:
    block = wire.header_block() + b"\x40\x01x\x02\xff\xfe"
    client = await sent(plugin, HELLO + wire.headers(1, block))
    assert client.farewell() == ErrorCodes.PROTOCOL_ERROR
    await plugin.is_well()


async def test_nothing_is_kept_of_clients_that_left(plugin: Socket) -> None:
    for said in (b"", b"GET / HTTP/1.1\r\n\r\n", HELLO, HELLO + wire.call(1)) * 20:
        async with connected(plugin.path) as client:
            await client.send(said)
    await plugin.only_the_good_one_is_left()
    # grpclib forgets every ten, when others come.
    for _ in range(20):
        async with connected(plugin.path):
            pass
    await eventually("few handlers", lambda: len(plugin.server._handlers), until=lambda n: n <= 25)
