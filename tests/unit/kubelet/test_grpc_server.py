"""Each limit of the gRPC server: a client breaks it, while the kubelet's stream goes on."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from grpclib.client import Channel
from h2.errors import ErrorCodes
from hpack import Decoder
from hyperframe.frame import (
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from structlog.testing import capture_logs

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet import grpc_server
from teeplugin.kubelet.grpc_server import MAX_CALLS, MAX_CONNECTIONS, MAX_MESSAGE_BYTES
from teeplugin.logs.stdlib import RateLimit
from tests import http2_wire as wire
from tests.http2_wire import HELLO, connected
from tests.in_process import Registered
from tests.unit.kubelet.served_plugin import (
    CUT_SECONDS,
    SMALL_WINDOW,
    UNITS,
    Plugin,
    answered,
    sent,
)
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


@pytest.fixture
async def plugin(kubelet_dir: Path) -> AsyncIterator[Plugin]:
    parts = Registered(kubelet_dir / "device-plugins", UNITS)
    await parts.endpoint.open()
    try:
        async with Channel(path=str(parts.endpoint.path)) as channel:
            one = Plugin(parts, channel)
            await anext(one.lists)
            yield one
            await one.lists.aclose()  # type: ignore[attr-defined]  # an async generator
    finally:
        await parts.endpoint.close()


async def test_a_message_over_4_mib_is_refused_before_it_is_read(plugin: Plugin) -> None:
    async with connected(plugin.path) as client:
        head = b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big")
        await client.send(HELLO + wire.headers(1, wire.header_block()) + wire.data(1, head))
        block = bytes((await answered(client, HeadersFrame)).data)
    trailers = dict(Decoder().decode(block, raw=True))
    assert trailers[b"grpc-status"] == b"8"
    assert b"4194304" in trailers[b"grpc-message"]
    await plugin.serves_the_good_client()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (wire.data(1, b"\0\xff\xff\xff\xff", "END_STREAM"), b"8"),
        (wire.data(1, b"\1\0\0\0\0", "END_STREAM"), b"12"),
        (wire.data(1, b"\0\0\0\0\x09\x0a", "END_STREAM"), b"3"),
        (wire.data(1, b"\0\0\0\0\x09", "END_STREAM"), b"3"),
        (wire.data(1, b"\0\0", "END_STREAM"), b"3"),
        (wire.data(1, b"", "END_STREAM"), b"3"),
        (wire.data(1, wire.message(b"\x0a\xff"), "END_STREAM"), b"3"),
    ],
    ids=["4 GiB", "compressed", "cut short", "a head alone", "half a head", "none", "no protobuf"],
)
async def test_a_call_with_a_bad_message_gets_a_status_and_no_line_in_the_log(
    plugin: Plugin, content: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.headers(1, wire.header_block()) + content)
        trailers = bytes((await answered(client, HeadersFrame)).data)
        assert dict(Decoder().decode(trailers, raw=True))[b"grpc-status"] == status
    assert [record.message for record in caplog.records if record.name.startswith("grpclib")] == []
    await plugin.serves_the_good_client()


async def test_the_65th_connection_takes_the_place_of_the_oldest_idle_one(plugin: Plugin) -> None:
    async with AsyncExitStack() as idle:
        clients = [
            await idle.enter_async_context(connected(plugin.path)) for _ in range(MAX_CONNECTIONS)
        ]
        async with asyncio.timeout(CUT_SECONDS):
            await clients[0].until_closed()
        async with Channel(path=str(plugin.path)) as channel:
            stub = v1beta1.DevicePluginStub(channel)
            await stub.get_device_plugin_options(v1beta1.Empty(), timeout=5)
        assert len(plugin.server.clients) == MAX_CONNECTIONS
        assert not clients[-1].ended
    await plugin.serves_the_good_client()


async def test_where_all_have_calls_the_65th_connection_is_refused(plugin: Plugin) -> None:
    async with AsyncExitStack() as watching:
        for _ in range(MAX_CONNECTIONS - 1):
            client = await watching.enter_async_context(connected(plugin.path))
            await client.send(HELLO + wire.call(1, "ListAndWatch"))
        await eventually(
            "all watch", lambda: len(plugin.parts.streams), until=MAX_CONNECTIONS.__eq__
        )
        refused = await sent(plugin, b"")
        assert refused.farewell() == ErrorCodes.NO_ERROR
        assert len(plugin.parts.streams) == MAX_CONNECTIONS
        await plugin.serves_the_good_client()


async def test_the_17th_call_at_a_time_ends_the_connection(plugin: Plugin) -> None:
    block = wire.header_block()
    async with connected(plugin.path) as client:
        streams = range(1, 2 * MAX_CALLS, 2)
        await client.send(HELLO + b"".join(wire.headers(stream, block) for stream in streams))
        agreed = await answered(client, SettingsFrame)
        assert agreed.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == MAX_CALLS
        assert client.farewell() is None
        await client.send(wire.headers(2 * MAX_CALLS + 1, block))
        async with asyncio.timeout(CUT_SECONDS):
            await client.until_closed()
        assert client.farewell() == ErrorCodes.PROTOCOL_ERROR
    await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()


@pytest.mark.parametrize("said", [b"", b"PRI * H", HELLO, HELLO + b"\0\0\x10\x01"])
async def test_a_client_without_a_first_call_is_disconnected_and_one_that_watches_is_not(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(grpc_server, "FIRST_CALL_SECONDS", 0.2)
    client = await sent(plugin, said)
    assert client.farewell() == ErrorCodes.NO_ERROR
    await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()


async def test_a_call_whose_message_does_not_come_ends_with_a_status(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "MESSAGE_SECONDS", 0.2)
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.headers(1, wire.header_block()) + wire.data(1, b"\0\0"))
        trailers = bytes((await answered(client, HeadersFrame)).data)
        assert dict(Decoder().decode(trailers, raw=True))[b"grpc-status"] == b"4"
    await plugin.serves_the_good_client()


@pytest.mark.parametrize("window", [wire.SETTINGS, SMALL_WINDOW], ids=["socket", "window"])
async def test_a_client_that_does_not_read_is_disconnected(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, window: bytes
) -> None:
    # Longer than the good client, which parses the list in the same loop, is kept from reading.
    monkeypatch.setattr(grpc_server, "UNREAD_SECONDS", 1.5)
    plugin.parts.list_units(20_000)  # more than a socket takes; the good client parses it, too
    async with connected(plugin.path) as client:
        wide = WindowUpdateFrame(0, window_increment=2**30).serialize()
        await client.send(wire.PREFACE + window + wide + wire.call(1, "ListAndWatch"))
        await eventually("two watch", lambda: len(plugin.parts.streams), until=(2).__eq__)
        await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()


async def test_a_list_is_never_copied_for_a_client_that_does_not_read(plugin: Plugin) -> None:
    plugin.parts.list_units(200_000)
    listed = plugin.parts.latest_list.value
    assert listed is not None
    async with AsyncExitStack() as unread:
        tracemalloc.start()
        unread.callback(tracemalloc.stop)
        for _ in range(8):
            client = await unread.enter_async_context(connected(plugin.path))
            await client.send(wire.PREFACE + SMALL_WINDOW + wire.call(1, "ListAndWatch"))
        await eventually("nine watch", lambda: len(plugin.parts.streams), until=(9).__eq__)
        await eventually("a piece each", lambda: plugin.calls, until=(9).__eq__)
        assert tracemalloc.get_traced_memory()[0] < len(listed.frame)


async def test_bad_frames_end_their_connection_and_are_logged_once_in_a_while(
    plugin: Plugin,
) -> None:
    with capture_logs() as logged:
        for _ in range(3):
            await sent(plugin, b"GET / HTTP/1.1\r\n\r\n")
    assert [(entry["event"], entry["reason"]) for entry in logged] == [
        ("client_disconnected", "bad frames: ProtocolError")
    ]
    await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()


@pytest.mark.parametrize(
    "content",
    [
        wire.raw_frame(0, 0, 1, b"x" * 16_385),
        wire.headers(1, wire.header_block() + b"\x40\x01x\x02\xff\xfe"),
        wire.raw_frame(0, 0, 0, b"data of no stream"),
        wire.raw_frame(9, 0, 1, b"headers continued"),
    ],
    ids=["too large", "no text", "no stream", "no headers"],
)
async def test_frames_against_the_rules_end_their_connection(
    plugin: Plugin, content: bytes
) -> None:
    await sent(plugin, HELLO + content)
    await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()


@pytest.mark.parametrize("missing", [":method", ":path"])
async def test_a_call_without_what_every_call_has_ends_alone_or_with_its_connection(
    plugin: Plugin, missing: str
) -> None:
    async with connected(plugin.path) as client, asyncio.timeout(CUT_SECONDS):
        await client.send(HELLO + wire.headers(1, wire.header_block(**{missing: ""})))
        while not client.ended and not any(
            isinstance(frame, RstStreamFrame) for frame in client.frames()
        ):
            await client.read()
    await plugin.serves_the_good_client()


async def test_a_disconnected_client_is_logged_again_after_a_minute(plugin: Plugin) -> None:
    seconds = 0.0
    plugin.server.log_limit = RateLimit(most=1, clock=lambda: seconds)
    with capture_logs() as logged:
        for at in (0.0, 59.0, 61.0, 62.0):
            seconds = at
            plugin.server.log_disconnected("no call")
    assert len(logged) == 2


async def test_a_message_that_takes_long_to_parse_is_refused(plugin: Plugin) -> None:
    async with connected(plugin.path) as client, asyncio.timeout(CUT_SECONDS):
        unknown = b"\x7a\x00" * 8_000
        await client.send(HELLO + wire.call(1, "GetDevicePluginOptions", unknown))
        trailers = bytes((await answered(client, HeadersFrame)).data)
        assert dict(Decoder().decode(trailers, raw=True))[b"grpc-status"] == b"8"
    await plugin.serves_the_good_client()


async def test_frames_of_a_kind_that_nobody_knows_are_ignored(plugin: Plugin) -> None:
    async with connected(plugin.path) as client:
        await client.send(HELLO + wire.raw_frame(0xBE, 0, 0, b"?") + wire.call(1))
        await answered(client, HeadersFrame)
        assert client.farewell() is None


async def test_the_end_takes_a_second_at_most_whatever_clients_do(plugin: Plugin) -> None:
    plugin.parts.list_units(200_000)
    async with AsyncExitStack() as stubborn:
        begun = HELLO + wire.headers(1, wire.header_block())
        watch = wire.PREFACE + SMALL_WINDOW + wire.call(1, "ListAndWatch")
        for content in (b"", HELLO, begun, watch):
            client = await stubborn.enter_async_context(connected(plugin.path))
            await client.send(content)
        await eventually("two watch", lambda: len(plugin.parts.streams), until=(2).__eq__)
        server = plugin.server
        async with asyncio.timeout(2 * grpc_server.END_SECONDS):
            await plugin.parts.endpoint.close()
        assert not server.clients


async def _misbehave(plugin: Plugin, act: int) -> None:
    """Break a limit in one of several ways, again and again, until cancelled."""
    watch = wire.PREFACE + SMALL_WINDOW + wire.call(1, "ListAndWatch")
    promised = b"\0" + MAX_MESSAGE_BYTES.to_bytes(4, "big")
    block = wire.header_block()
    contents = [
        b"",
        HELLO,
        b"\x16\x03\x01" * 50,
        HELLO + watch[len(wire.PREFACE) :],
        HELLO + wire.headers(1, block) + wire.data(1, promised + b"x" * 16_000),
        HELLO + wire.headers(1, block) + wire.data(1, b"\0\xff\xff\xff\xff"),
        HELLO + b"".join(wire.headers(stream, block) for stream in range(1, 99, 2)),
        HELLO + PingFrame(0, b"flooding").serialize() * 500,
    ]
    while True:
        async with connected(plugin.path) as client:
            for _ in range(5):
                try:
                    await client.send(contents[act % len(contents)])
                except OSError:
                    break
                await asyncio.sleep(0.01)


async def test_fifty_clients_that_break_the_limits_disturb_neither_stream_nor_allocate(
    plugin: Plugin,
) -> None:
    first = plugin.parts.streams._open.copy()
    crowd = [asyncio.create_task(_misbehave(plugin, act)) for act in range(50)]
    try:
        for _ in range(5):
            await plugin.serves_the_good_client()
        assert not [task for task in crowd if task.done()]
    finally:
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
    assert first.items() <= plugin.parts.streams._open.items()
    await plugin.has_only_the_good_client()
    await plugin.serves_the_good_client()
