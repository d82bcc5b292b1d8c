"""Who has their bytes handled when: one connection's flood must not hold up the others; for server.

Who asks for little is served at once. Who asks for much has its bytes wait for their turn, a slice
at a time, and isn't read from meanwhile, so that the flood stays in its sender.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Protocol

import anyio.lowlevel

SLICE_COST = 1_000
"""Microseconds' worth of frames at a time: two calls. All others wait no longer than that."""

REST_SECONDS = 0.002
"""Between two slices, where several ask for much: so they get half of the time at most."""

CONTENDED_SECONDS = 0.1
"""Several ask for much as long as two of them were served within this time."""

ALLOWANCE = 5_000
"""Microseconds that a connection may use at once: ten calls."""

ALLOWANCE_PER_SECOND = 20_000
"""How it comes back: 35 calls a second, more than a kubelet admits pods."""

_FIRST_DEBT = 2 * ALLOWANCE
"""A new connection has none for half a second: coming anew must not pay."""

_MOST_DEBT = 100_000
"""Is forgiven within 5 s."""


class Debtor:
    """What one connection has used of late; `beside` keeps another account of the same one."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, beside: "Debtor | None" = None
    ) -> None:
        self.connection: object = self if beside is None else beside.connection
        self._clock = clock
        self._debt: float = _FIRST_DEBT
        self._at = clock()

    @property
    def debt(self) -> float:
        """Microseconds that were used, less what has come back since."""
        now = self._clock()
        self._debt = max(0.0, self._debt - (now - self._at) * ALLOWANCE_PER_SECOND)
        self._at = now
        return self._debt

    def use(self, cost: int) -> None:
        """Count microseconds that were used."""
        self._debt = min(self._debt + cost, _MOST_DEBT)


class Waiting(Protocol):
    """A connection with bytes to be handled; `debtor` tells who comes first."""

    debtor: Debtor

    def take_turn(self) -> bool:
        """Handle a slice; whether there is more."""


class Turns:
    """The queue of all connections of a server whose bytes have to wait."""

    def __init__(self) -> None:
        self._queue: deque[Waiting] = deque()
        self._handle: asyncio.Handle | None = None
        self._last: object = None
        self._last_at = 0.0
        self._contended_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits, so that whoever comes may be served."""
        return self._handle is None

    def ask(self, who: Waiting) -> None:
        """Queue up; `take_turn` is called until it says that there is no more."""
        self._queue.append(who)
        self._go_on(rests=False)

    def served(self, who: Waiting) -> None:
        """Take note that one who asks for much was served, and rest if there are several."""
        self._go_on(rests=self._is_contended(who))

    async def wait(self, debtor: Debtor, cost: int) -> None:
        """Wait until somebody may do what costs so much; who asks for little doesn't wait."""
        light = debtor.debt < ALLOWANCE
        debtor.use(cost)
        if light:
            return
        turn = Turn(debtor)
        if self.idle:
            self.served(turn)
        else:
            self.ask(turn)
            await turn.come.wait()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._queue.clear()
        if self._handle is not None:
            self._handle.cancel()

    def _is_contended(self, who: Waiting) -> bool:
        now = time.monotonic()
        connection = who.debtor.connection
        if self._last is not connection and now - self._last_at < CONTENDED_SECONDS:
            self._contended_until = now + CONTENDED_SECONDS
        self._last, self._last_at = connection, now
        return now < self._contended_until

    def _go_on(self, *, rests: bool) -> None:
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        if rests:
            self._handle = loop.call_later(REST_SECONDS, self._next)
        elif self._queue:
            self._handle = loop.call_soon(self._next)

    def _next(self) -> None:
        self._handle = None
        if not self._queue:
            return
        # Of equals the one that has waited longest.
        who = min(self._queue, key=lambda waiting: waiting.debtor.debt)
        self._queue.remove(who)
        try:
            if who.take_turn():
                self._queue.append(who)
        finally:
            self._go_on(rests=self._is_contended(who))


class Turn:
    """A turn for something that isn't bytes: whoever awaits `come` may go on once it is set."""

    def __init__(self, debtor: Debtor) -> None:
        self.debtor = debtor
        self.come = asyncio.Event()

    def take_turn(self) -> bool:
        """Let it go on."""
        self.come.set()
        return False


turns_of_calls: ContextVar[Callable[[int], Awaitable[None]]] = ContextVar("turns_of_calls")
"""What waits for a turn of the connection whose call a task answers."""


async def pause(cost: int) -> None:
    """Within a call: let others have their turn, before going on with what takes `cost`."""
    may_use = turns_of_calls.get(None)
    if may_use is not None:
        await may_use(cost)
    await anyio.lowlevel.checkpoint()
