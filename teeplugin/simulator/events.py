"""What happened, when, and waiting for it: the simulated kubelet's log."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import anyio

_SHOWN_IN_TIMEOUT = 6


class EventKind(StrEnum):
    """What the simulated kubelet records."""

    STARTED = "started"
    STOPPED = "stopped"
    KILLED = "killed"
    REGISTERED = "registered"
    REGISTRATION_REFUSED = "registration refused"
    LIST_RECEIVED = "list received"
    STREAM_ENDED = "stream ended"
    POD_ADMITTED = "pod admitted"
    POD_REFUSED = "pod refused"
    POD_REMOVED = "pod removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry; `at` is time.monotonic() in seconds, and fields that don't apply are empty."""

    kind: EventKind
    at: float
    resource: str = ""
    endpoint: str = ""
    pod: str = ""
    text: str = ""
    list_bytes: int = 0
    healthy: int = 0
    unhealthy: int = 0


class EventLog:
    """Events in their order, and a wake-up call for everyone who waits on a condition."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = anyio.Event()
        self._listeners: list[Callable[[Event], None]] = []

    def follow(self, listener: Callable[[Event], None]) -> None:
        """Have `listener` called with each event from now on."""
        self._listeners.append(listener)

    def record(
        self,
        kind: EventKind,
        *,
        resource: str = "",
        endpoint: str = "",
        pod: str = "",
        text: str = "",
        list_bytes: int = 0,
        healthy: int = 0,
        unhealthy: int = 0,
    ) -> None:
        """Append an event of this moment and wake the waiters."""
        event = Event(
            kind=kind,
            at=time.monotonic(),
            resource=resource,
            endpoint=endpoint,
            pod=pod,
            text=text,
            list_bytes=list_bytes,
            healthy=healthy,
            unhealthy=unhealthy,
        )
        self.events.append(event)
        for listener in self._listeners:
            listener(event)
        self.wake()

    def wake(self) -> None:
        """Let every waiter look at its condition again."""
        self._changed.set()
        self._changed = anyio.Event()

    async def changed(self) -> None:
        """Wait for the next wake-up call."""
        await self._changed.wait()

    def count(self, kind: EventKind) -> int:
        """How many events of a kind there are."""
        return sum(event.kind is kind for event in self.events)

    async def wait_for(
        self, condition: Callable[[], bool], deadline_seconds: float, what: str = "the condition"
    ) -> None:
        """Return as soon as `condition()` holds; it is looked at after each change, not polled.

        Raises:
            TimeoutError: it did not hold in time; the message names `what` and the last events.
        """
        try:
            with anyio.fail_after(deadline_seconds):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            last = ", ".join(
                f"{event.kind} {event.text}".strip() for event in self.events[-_SHOWN_IN_TIMEOUT:]
            )
            raise TimeoutError(
                f"{what} did not come within {deadline_seconds:g} s; last seen: {last or 'nothing'}"
            ) from None
