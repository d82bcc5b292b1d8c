"""What hostile clients do, each on a connection of its own until it is cut or cancelled."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from random import Random

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.hostile import wire
from tests.hostile.wire import HELLO, Wire

BATCH = 500
"""Frames that are sent at a time."""

SMALL_WINDOW = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0}).serialize()


async def garbage_before_the_preface(client: Wire, random: Random) -> None:
    await client.send(random.choice((random.randbytes(5_000), b"GET / HTTP/1.1\r\n\r\n", b"PRI x")))
    await client.until_closed()


async def garbage_after_the_preface(client: Wire, random: Random) -> None:
    await client.send(HELLO + random.randbytes(50_000))
    await client.until_closed()


async def silence(client: Wire, random: Random) -> None:
    half = wire.call(1)[: random.randrange(60)]
    await client.send(random.choice((b"P", wire.PREFACE, HELLO, HELLO + half)))
    await client.until_closed()


async def trickle(client: Wire, random: Random) -> None:
    del random
    for byte in HELLO + wire.call(1, content=wire.allocate(range(4_000))):
        await client.send(bytes([byte]))
        await asyncio.sleep(0.001)


async def rapid_reset(client: Wire, random: Random) -> None:
    path = random.choice(("Allocate", "ListAndWatch"))
    block = wire.header_block(path)
    await client.send(HELLO)
    for first in range(1, 2**31, 2 * BATCH):
        resets = (
            wire.headers(stream, block) + RstStreamFrame(stream, 8).serialize()
            for stream in range(first, first + 2 * BATCH, 2)
        )
        await _and_read(client, b"".join(resets))


async def pings(client: Wire, random: Random) -> None:
    del random
    await client.send(HELLO)
    await client.send_on_and_on(PingFrame(0, b"8 bytes.").serialize() * BATCH)


async def pings_unread(client: Wire, random: Random) -> None:
    del random
    await client.send(HELLO)
    while True:
        await client.send(PingFrame(0, b"8 bytes.").serialize() * BATCH)


async def settings(client: Wire, random: Random) -> None:
    kinds = [random.randrange(7, 65_536) for _ in range(random.choice((0, 1, 20, 1_000)))]
    await client.send(HELLO)
    await client.send_on_and_on(wire.settings(kinds) * 50)


async def endless_headers(client: Wire, random: Random) -> None:
    await client.send(HELLO + wire.headers(1, b"", "END_STREAM"))
    size = random.choice((0, 1, 16_384))
    await client.send_on_and_on(ContinuationFrame(1, b"\x40" * size).serialize() * 50)


async def huge_headers(client: Wire, random: Random) -> None:
    one = (("a" * 50, random.randbytes(2_000).hex()),)
    block = wire.header_block(**dict(one)) * 5
    await client.send(HELLO + b"".join(wire.headers(s, block) for s in range(1, 100, 2)))
    await client.until_closed()


async def hpack_bomb(client: Wire, random: Random) -> None:
    del random
    entry = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4_000  # a literal that goes into the table
    block = entry + b"\xbe" * 10_000  # and ten thousand times what stands there
    await client.send(HELLO + wire.headers(1, block))
    await client.until_closed()


async def four_gibibytes(client: Wire, random: Random) -> None:
    del random
    head = b"\0\xff\xff\xff\xff"
    await client.send(HELLO + wire.headers(1, wire.header_block()) + wire.data(1, head))
    await client.send_on_and_on(wire.data(1, bytes(16_384)))


async def five_mebibytes(client: Wire, random: Random) -> None:
    del random
    await client.send(HELLO + _five_mebibytes())
    await client.until_closed()


async def promised_bytes_that_never_come(client: Wire, random: Random) -> None:
    head = b"\0" + random.choice((100_000, 4 * 1024 * 1024)).to_bytes(4, "big")
    calls = (wire.headers(s, wire.header_block()) + wire.data(s, head) for s in range(1, 60, 2))
    await client.send(HELLO + b"".join(calls))
    await client.until_closed()


async def many_streams(client: Wire, random: Random) -> None:
    path = random.choice(("Allocate", "ListAndWatch", "GetDevicePluginOptions"))
    most = random.choice((30, 1_000))
    await client.send(
        HELLO + b"".join(wire.headers(s, wire.header_block(path)) for s in range(1, 2 * most, 2))
    )
    await client.until_closed()


async def calls_without_end(client: Wire, random: Random) -> None:
    """Nothing wrong but their number."""
    content = wire.allocate(random.sample(range(128), 10))
    await client.send(HELLO)
    for first in range(1, 2**31, 40):
        calls = (wire.call(stream, content=content) for stream in range(first, first + 40, 2))
        await _and_read(client, b"".join(calls))
        await asyncio.sleep(0.01)


async def long_requests(client: Wire, random: Random) -> None:
    """As a client does that keeps all rules, three at a time: the plugin's windows are heeded."""
    h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    h2.initiate_connection()
    rest: dict[int, bytes] = {}
    while not client.ended:
        while len(rest) < 3:
            stream = h2.get_next_available_stream_id()
            h2.send_headers(stream, wire.header_list())
            rest[stream] = wire.message(_long_message(random.choice((20_000, 200_000))))
        for stream, content in rest.items():
            window = min(h2.local_flow_control_window(stream), h2.max_outbound_frame_size)
            if content and window:
                h2.send_data(stream, content[:window], end_stream=len(content) <= window)
                rest[stream] = content[window:]
        await client.send(h2.data_to_send())
        for event in h2.receive_data(await client.read()):
            if isinstance(event, StreamEnded):
                del rest[event.stream_id]


async def a_byte_a_frame(client: Wire, random: Random) -> None:
    del random
    watch = wire.headers(1, wire.header_block("ListAndWatch")) + wire.data(1, wire.message(b""))
    await client.send(HELLO + watch + wire.data(1, b"x") * 50_000)
    await client.until_closed()


async def goodbye_unread(client: Wire, random: Random) -> None:
    await client.send(HELLO + PingFrame(0, random.randbytes(8)).serialize() * 900)
    await client.send(GoAwayFrame(0).serialize())
    await asyncio.sleep(60)


async def watch_unread(client: Wire, random: Random) -> None:
    """The lists pile up in the plugin, if anywhere."""
    watches = b"".join(
        wire.call(s, "ListAndWatch") for s in range(1, 2 * random.choice((1, 30)), 2)
    )
    await client.send(wire.PREFACE + random.choice((wire.SETTINGS, SMALL_WINDOW)) + watches)
    wide = WindowUpdateFrame(0, window_increment=2**30).serialize()
    if random.random() < 0.5:
        await client.send(wide)
    await asyncio.Event().wait()


async def watch_a_byte_at_a_time(client: Wire, random: Random) -> None:
    del random
    await client.send(wire.PREFACE + SMALL_WINDOW + wire.call(1, "ListAndWatch"))
    while True:
        await _and_read(client, WindowUpdateFrame(1, window_increment=1).serialize())


async def not_grpc(client: Wire, random: Random) -> None:
    blocks = [
        wire.header_block(content_type="text/html"),
        wire.header_block(content_type=""),
        wire.header_block("/no/such"),
        wire.header_block(te=""),
        wire.header_block(**{":method": "GET"}),
        wire.header_block(**{":method": ""}),
        wire.header_block(**{":path": ""}),
        wire.header_block(grpc_timeout="soon"),
        wire.header_block(x_bin="%%%"),
        wire.header_block(x="\x7f"),
    ]
    contents = [b"\x01\0\0\0\0", b"\0\0\0\0\x09\x0a\xff", wire.message(b"\x0a\xff"), b"", b"\0\0"]
    await client.send(HELLO)
    for stream in range(1, 2**31, 2):
        whole = wire.headers(stream, random.choice([*blocks, *[wire.header_block()] * 5]))
        await _and_read(client, whole + wire.data(stream, random.choice(contents), "END_STREAM"))
        await asyncio.sleep(0.005)


async def window_overflow(client: Wire, random: Random) -> None:
    wide = WindowUpdateFrame(random.choice((0, 1)), window_increment=2**31 - 1).serialize()
    await client.send(HELLO + wire.call(1, "ListAndWatch"))
    await client.send_on_and_on(wide)


async def unknown_frames(client: Wire, random: Random) -> None:
    await client.send(HELLO)
    kind = random.randrange(10, 256)
    await client.send_on_and_on(wire.raw_frame(kind, 0xFF, 0, b"?") * BATCH)


async def priorities(client: Wire, random: Random) -> None:
    await client.send(HELLO)
    frames = (
        PriorityFrame(random.randrange(1, 2**20), depends_on=0, stream_weight=1).serialize()
        for _ in range(BATCH)
    )
    await client.send_on_and_on(b"".join(frames))


async def empty_data(client: Wire, random: Random) -> None:
    del random
    await client.send(HELLO + wire.headers(1, wire.header_block()))
    await client.send_on_and_on(wire.data(1, b"") * BATCH)


async def window_updates(client: Wire, random: Random) -> None:
    del random
    await client.send(HELLO + wire.call(1, "ListAndWatch"))
    await client.send_on_and_on(WindowUpdateFrame(1, window_increment=1).serialize() * BATCH)


async def come_and_go(client: Wire, random: Random) -> None:
    """A storm of connections: this act is over at once, and another follows."""
    if random.random() < 0.5:
        await client.send(HELLO)


Act = Callable[[Wire, Random], Awaitable[None]]

ACTS: Mapping[str, Act] = {
    act.__name__: act
    for act in (
        *(garbage_before_the_preface, garbage_after_the_preface, silence, trickle, rapid_reset),
        *(pings, pings_unread, settings, endless_headers, huge_headers, hpack_bomb),
        *(four_gibibytes, five_mebibytes, promised_bytes_that_never_come, many_streams),
        *(calls_without_end, long_requests, watch_unread, watch_a_byte_at_a_time, not_grpc),
        *(
            a_byte_a_frame,
            goodbye_unread,
            window_overflow,
            unknown_frames,
            priorities,
            empty_data,
            window_updates,
            come_and_go,
        ),
    )
}


async def _and_read(client: Wire, content: bytes) -> None:
    """Send, and read what has come meanwhile.

    Raises:
        EOFError: the connection was closed.
    """
    async with client.reading_on():
        await client.send(content)
        await asyncio.sleep(0)
    if client.ended:
        raise EOFError
    client.received.clear()


@cache
def _five_mebibytes() -> bytes:
    return wire.call(1, content=bytes(5 * 1024 * 1024))


@cache
def _long_message(count: int) -> bytes:
    return wire.allocate(range(count))
