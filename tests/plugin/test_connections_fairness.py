"""Who is served when, and what gives way: the rules behind the socket, without one."""

import asyncio

import pytest
from hyperframe.frame import PingFrame
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.connections import frames, held, turns
from teeplugin.connections.frames import FrameGate, TooMuchError
from teeplugin.connections.held import Held
from teeplugin.connections.turns import Debtor, Turns
from tests.hostile import wire
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]

PING = PingFrame(0, b"8 bytes.").serialize()


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Client:
    """Somebody with so many slices to be handled, who notes in `order` when each was."""

    def __init__(self, name: str, slices: int, debtor: Debtor, order: list[str]) -> None:
        self.name, self.left, self.debtor, self._order = name, slices, debtor, order

    def take_turn(self) -> bool:
        self._order.append(self.name)
        self.debtor.use(turns.SLICE_COST)
        self.left -= 1
        return self.left > 0


@given(st.lists(st.sampled_from([PING, wire.call(1), wire.data(1, b"x" * 100)])), st.data())
def test_slices_are_whole_frames_and_together_all_that_came(
    sent: list[bytes], data: st.DataObject
) -> None:
    everything = b"".join(sent)
    everything = everything[: data.draw(st.integers(0, len(everything)))]
    gate, handled = FrameGate(), b""
    rest = everything
    while True:
        end, cost, more = gate.next_frames(rest, turns.SLICE_COST)
        assert cost <= turns.SLICE_COST
        handled, rest = handled + rest[:end], rest[end:]
        if not more:
            break
    assert handled + rest == everything
    # What is left is less than a frame.
    assert len(rest) < 9 or len(rest) < 9 + int.from_bytes(rest[:3], "big")


def test_patience_comes_back_with_time_and_with_calls() -> None:
    clock = Clock()
    gate = FrameGate(clock)
    gate.next_frames(PING * frames.PATIENCE, 10**9)
    clock.now += 1
    gate.next_frames(PING * frames.PATIENCE_PER_SECOND, 10**9)
    gate.earn(frames.PATIENCE_PER_CALL)
    gate.next_frames(PING * frames.PATIENCE_PER_CALL, 10**9)
    with pytest.raises(TooMuchError):
        gate.next_frames(PING, 10**9)


async def test_who_used_less_comes_first_and_a_flood_waits() -> None:
    clock, order = Clock(), list[str]()
    light, heavy = Debtor(clock), Debtor(clock)
    clock.now += 60
    assert light.debt == heavy.debt == 0
    heavy.use(10 * turns.ALLOWANCE)
    queue = Turns()
    queue.ask(Client("flood", 50, heavy, order))
    queue.ask(Client("kubelet", 1, light, order))
    await eventually("all turns", lambda: len(order), until=(51).__eq__)
    assert order[0] == "kubelet"
    assert queue.idle


async def test_several_floods_take_turns_and_leave_half_of_the_time() -> None:
    clock, order = Clock(), list[str]()
    queue = Turns()
    began = asyncio.get_running_loop().time()
    for name in "ab":
        queue.ask(Client(name, 10, Debtor(clock), order))
    await eventually("all turns", lambda: len(order), until=(20).__eq__)
    assert order[:6] in (list("ababab"), list("abbaab"), list("abbaba"), list("ababba"))
    rested = asyncio.get_running_loop().time() - began
    assert rested > 15 * turns.REST_SECONDS


async def test_who_asks_for_little_may_send_at_once_though_others_wait() -> None:
    clock, order = Clock(), list[str]()
    queue, light = Turns(), Debtor(clock)
    clock.now += 60
    queue.ask(Client("flood", 5, Debtor(clock), order))
    await queue.wait(light, 100)
    assert order == []


async def test_a_connection_doesnt_contend_with_itself() -> None:
    queue, clock = Turns(), Clock()
    frames = Debtor(clock)
    for debtor in (frames, Debtor(clock, beside=frames)):
        queue.served(turns.Turn(debtor))
        assert queue.idle, "its next slice waits for nothing"
    queue.served(turns.Turn(Debtor(clock)))
    assert not queue.idle, "another's does"
    queue.close()


class Holding:
    """A connection's calls, as the book knows them."""

    def __init__(self, name: str, gone: list[str]) -> None:
        self.held_bytes = 0
        self._name, self._gone = name, gone

    def give_way(self) -> None:
        self._gone.append(self._name)


def test_who_holds_most_gives_way_however_late_it_came() -> None:
    gone = list[str]()
    book, kubelet, crowd = Held(), Holding("kubelet", gone), Holding("crowd", gone)
    book.add(kubelet, held.MOST_HELD_BYTES // 8)
    for _ in range(3):
        book.add(crowd, held.MOST_HELD_BYTES // 4)
    assert gone == []
    book.add(crowd, held.MOST_HELD_BYTES // 4)
    assert gone == ["crowd"]
    assert book.total_bytes == kubelet.held_bytes == held.MOST_HELD_BYTES // 8
    book.drop(kubelet, kubelet.held_bytes)
    book.drop_all(crowd)
    assert book.total_bytes == 0
