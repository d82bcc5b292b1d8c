"""Throws mutated sessions of a kubelet at the socket, and sees that nothing comes of it."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic

from hyperframe.frame import PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from tests.hostile import wire
from tests.hostile.node import node
from tests.waiting import eventually

MOST_GROWTH_MB = 20.0
MOST_FLIP_MS = 3_000.0
"""No measurement, as this process is busy throwing: only that nothing hangs."""

RECOVERY_SECONDS = 10.0
_AT_A_TIME = 8
_NUMBERS = (0, 1, 5, 9, 0x7F, 0x80, 0xFF)


def sessions() -> list[list[bytes]]:
    """What a kubelet sends, frame by frame."""
    hello = [wire.PREFACE, wire.SETTINGS, SettingsFrame(0, flags=["ACK"]).serialize()]
    wide = [WindowUpdateFrame(stream, window_increment=65_535).serialize() for stream in (0, 1)]
    watch = [*hello, wire.call(1, "GetDevicePluginOptions"), wire.call(3, "ListAndWatch"), *wide]
    allocate = wire.allocate(range(20))
    calls = [wire.call(stream, "Allocate", allocate) for stream in (5, 7, 9)]
    prefer = wire.call(11, "GetPreferredAllocation", b"\x0a\x09\x0a\x010\x0a\x011\x18\x01")
    ping = PingFrame(0, b"bdp-ping").serialize()
    return [
        [*watch, *calls, prefer, ping, RstStreamFrame(3, 8).serialize()],
        [*hello, *calls, wire.call(13, "PreStartContainer", b"\x0a\x010")],
        [
            *watch,
            ping,
            *(wire.call(s, "Allocate", wire.allocate(range(s))) for s in range(15, 60, 2)),
        ],
    ]


def mutated(random: Random, frames: list[bytes]) -> bytes:
    """A session with some things wrong: frames that go, come twice, change places, or bytes."""
    frames = list(frames)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(frames))
        match random.randrange(7):
            case 0:
                frames[at : at + 1] = []
            case 1:
                frames[at : at + 1] = [frames[at]] * random.choice((2, 2, 3, 200))
            case 2:
                frames.insert(random.randrange(len(frames)), frames.pop(at))
            case 3:
                frames[at] = frames[at][: random.randrange(len(frames[at]) + 1)]
            case 4:
                kind, stream = random.randrange(12), random.choice((0, 1, 3, 5, 2**31 - 1))
                content = random.randbytes(random.choice((0, 1, 4, 5, 6, 8, 30, 3_000)))
                frames.insert(at, wire.raw_frame(kind, random.randrange(256), stream, content))
            case _:
                frames[at] = _with_other_bytes(random, frames[at])
        frames = frames or [b""]
    return b"".join(frames)


def _with_other_bytes(random: Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(random.choice((1, 1, 2, 8))):
        if changed:
            at = random.randrange(min(len(changed), random.choice((9, 20, 10**6))))
            changed[at] = random.choice((*_NUMBERS, random.randrange(256)))
    return bytes(changed)


async def throw(path: Path, content: bytes, random: Random) -> str:
    """Send it, whole or in pieces; how it ended."""
    try:
        async with asyncio.timeout(2), wire.connected(path) as client:
            async with client.reading_on() as reading:
                piece = random.choice((len(content), len(content), 1_000, 100, 7)) or 1
                with suppress(ConnectionError):  # what was said before can be read all the same
                    for at in range(0, len(content), piece):
                        await client.send(content[at : at + piece])
                with suppress(TimeoutError):
                    async with asyncio.timeout(random.choice((0, 0.01, 0.05))):
                        await asyncio.shield(reading)
            if not client.ended:
                return "lived"
            farewell = client.farewell()
            return "closed" if farewell is None else f"GOAWAY {farewell}"
    except wire.GONE as error:
        return type(error).__name__


async def fuzz(seconds: float, seed: int) -> list[str]:
    """Go on so long, printing what was seen; what doesn't hold."""
    broken: list[str] = []
    outcomes: Counter[str] = Counter()
    ends = monotonic() + seconds
    recorded = sessions()
    async with node(128) as one:
        path = one.socket
        await one.serve(2)
        before, at_first = one.usage(), None
        flips: list[float] = []

        async def keep_throwing(number: int) -> None:
            random = Random(f"{seed}-{number}")  # noqa: S311 - to be repeatable
            while monotonic() < ends:
                outcomes[await throw(path, mutated(random, random.choice(recorded)), random)] += 1

        throwing = [asyncio.create_task(keep_throwing(number)) for number in range(_AT_A_TIME)]
        while monotonic() < ends and one.plugin.running:
            flips.append(await one.flip())
            await asyncio.sleep(0.5)
            if at_first is None and monotonic() > ends - seconds * 0.8:
                at_first = one.usage()
        await asyncio.gather(*throwing)
        with suppress(AssertionError):
            await eventually(
                "descriptors as before",
                lambda: one.usage().descriptors <= before.descriptors,
                RECOVERY_SECONDS,
            )
        after = one.usage()
        print(f"{outcomes.total()} sessions, seed {seed}: {dict(outcomes.most_common())}")
        print(f"{len(flips)} flips, {max(flips):.0f} ms at most until the list was there")
        print(f"before {before}; afterwards {after}")
        if at_first is not None:
            print(f"after a fifth of the time {at_first}")
        logged = Counter(entry["event"] for entry in one.plugin.events())
        print(f"logged: {dict(logged.most_common(12))}")
        told = [entry for entry in one.plugin.events() if "logger" in entry]
        broken += [f"a library's line in the log: {entry}" for entry in told[:5]]
        if after.descriptors > before.descriptors:
            broken.append(f"{after.descriptors} descriptors, {before.descriptors} before")
        if after.rss_mb - (at_first or before).rss_mb > MOST_GROWTH_MB:
            broken.append(f"RSS grew to {after.rss_mb:.1f} MB")
        if max(flips) > MOST_FLIP_MS:
            broken.append(f"a list came after {max(flips):.0f} ms")
        broken += one.problems()
    return broken
