"""What happened lately, by whom: for the live view, the plain lines and what scenarios expect.

The kubelet, the plugin's log and whoever plays tell it; one entry is one line.
"""

import contextlib
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teeplugin.simulator.connection import UNAVAILABLE
from teeplugin.simulator.event_words import sentence
from teeplugin.simulator.events import Event, EventKind
from teeplugin_backends.base import TeeMemory

KUBELET, PLUGIN, PLAYED = "kubelet", "plugin", "played"
"""Who tells: the simulated kubelet, the plugin's log, and what a key or a step did."""

INFO, WARNING, ERROR = "info", "warning", "error"

_MAX_ENTRIES = 200
_HEADED = {"timestamp", "level", "event"}
_LEVELS = {"warning": WARNING, "error": ERROR, "critical": ERROR}
_FAULT_EVENTS = ("tee_unhealthy", "tee_recovered", "stopped")
_SHORTAGE_EVENTS = ("shortage", "shortage_eased")
_BAD_NEWS = {
    EventKind.KILLED: WARNING,
    EventKind.STREAM_ENDED: WARNING,
    EventKind.REGISTRATION_REFUSED: ERROR,
    EventKind.POD_REFUSED: ERROR,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that stands, by the plugin's log: its kind, what happened, and what to do."""

    kind: str
    error: str
    fix: str


@dataclass(frozen=True, slots=True)
class ShortUnits:
    """A shortage by the plugin's log: how many units, with so much free and so many allocated."""

    units: int
    free_bytes: int
    allocated_units: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line; `number` counts them from 1, and `at` is time.time().

    `words` say the same in a sentence, where the text is a line of the plugin's log.
    """

    number: int
    at: float
    source: str
    text: str
    level: str
    words: str


class Timeline:
    """The last entries, oldest first, and the names of all `events` of the plugin's log.

    By the log: `fault` and `shortage` are those that stand, None where there is none, and `reading`
    is the TEE's memory at the last reading, where the plugin logs each at the level debug.
    `last_refusal` is why the kubelet refused a pod the last time.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self.events: list[str] = []
        self.fault: Fault | None = None
        self.shortage: ShortUnits | None = None
        self.reading: TeeMemory | None = None
        self.last_refusal: str | None = None

    def add(self, source: str, text: str, level: str = INFO, words: str | None = None) -> None:
        """Add an entry of this moment."""
        number = self.entries[-1].number + 1 if self.entries else 1
        self.entries.append(Entry(number, time.time(), source, text, level, words or text))

    def played(self, text: str, level: str = INFO) -> None:
        """Add what a key or a step did."""
        self.add(PLAYED, text, level)

    def kubelet(self, event: Event) -> None:
        """Add what happened at the kubelet."""
        text = _kubelet_text(event)
        if event.kind is EventKind.POD_REFUSED:
            self.last_refusal = text
        # The kubelet's words, which are those of its gRPC library, are long and say less.
        was_closed = event.kind is EventKind.STREAM_ENDED and event.text.startswith(UNAVAILABLE)
        words = f"{event.kind}: the plugin closed it" if was_closed else None
        self.add(KUBELET, text, _BAD_NEWS.get(event.kind, INFO), words)

    def plugin(self, line: str) -> bool:
        """Add a line of the plugin's log; False for one of the level debug, which isn't shown."""
        fields = _fields(line)
        if fields is None:
            self.add(PLUGIN, line)
            return True
        event = str(fields.get("event", ""))
        self._follow(event, fields)
        if fields.get("level") == "debug":
            return False
        self.events.append(event)
        level = _LEVELS.get(str(fields.get("level")), INFO)
        self.add(PLUGIN, log_text(fields), level, sentence(fields))
        return True

    def ended(self, code: int | None, level: str) -> None:
        """Add the plugin's end, after which nothing asks the TEE."""
        self.fault = self.shortage = self.reading = None
        self.add(PLUGIN, f"ended with exit {code}", level)

    def _follow(self, event: str, fields: Mapping[str, Any]) -> None:
        """Take note of what stands now; a line with a field missing or wrong says nothing."""
        with contextlib.suppress(KeyError, OverflowError, TypeError, ValueError):
            if event in _FAULT_EVENTS:
                cause, error, fix = (str(fields.get(key, "")) for key in ("cause", "error", "fix"))
                self.fault = Fault(cause, error, fix) if cause else None
            elif event in _SHORTAGE_EVENTS:
                named = (int(fields[key]) for key in ("units", "free_bytes", "allocated_units"))
                short = ShortUnits(*named)
                self.shortage = short if short.units else None
            elif event == "reading":
                self.reading = TeeMemory(int(fields["total_bytes"]), int(fields["free_bytes"]))


def readable(line: str) -> str:
    """Write a line of the plugin's JSON log for people; another line stays as it is."""
    fields = _fields(line)
    return line if fields is None else f"{fields.get('level', '')} {log_text(fields)}".lstrip()


def log_text(fields: Mapping[str, Any]) -> str:
    """Write a log event without its head."""
    details = (f"{key}={value}" for key, value in fields.items() if key not in _HEADED)
    return " ".join((str(fields.get("event", "")), *details))


def _fields(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _kubelet_text(event: Event) -> str:
    if event.kind is EventKind.LIST_RECEIVED:
        unhealthy = f", {event.unhealthy} unhealthy" if event.unhealthy else ""
        return f"{event.kind}: {event.healthy} healthy{unhealthy}"
    details = ", ".join(filter(None, (event.pod or event.endpoint, event.text)))
    return f"{event.kind}: {details}" if details else str(event.kind)
