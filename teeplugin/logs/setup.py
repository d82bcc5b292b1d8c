"""Sets up structlog: one line a message, as key=value or JSON, to standard error.

The standard library's records (grpclib, asyncio, warnings) are led here by log_routing.
"""

import contextlib
import io
import json
import os
import re
import select
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from teeplugin.logs.stdlib import route_standard_library

# The settings have the same two; neither imports the other, and mypy sees where they meet.
LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

LEVELS: Mapping[LogLevel, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40}

MAX_RECENT = 50
"""How many events are remembered, to be told of by telemetry."""

_RECENT: deque[EventDict] = deque(maxlen=MAX_RECENT)

_PLAIN = re.compile(r'[^\s"=\\]+')


def configure(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Write everything from `level` up to `stream`, standard error by default, from now on."""
    render = _as_json if log_format == "json" else _as_text

    def dropped_line(dropped: int) -> str:
        event = {"event": "log_lines_dropped", "logger": "stderr", "dropped": dropped}
        return render(None, "warning", _headed(None, "warning", event))

    structlog.configure(
        processors=[_headed, _with_error, _with_plain_values, _remembered, render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=_factory(sys.stderr if stream is None else stream, dropped_line),
        # Looked up at each call, so that a later configure() reaches loggers already in use.
        cache_logger_on_first_use=False,
    )
    route_standard_library(get_logger(), LEVELS[level])


def get_logger() -> FilteringBoundLogger:
    """Give a logger; one made before `configure` follows it all the same."""
    return cast("FilteringBoundLogger", structlog.get_logger())


def recent_events() -> list[dict[str, Any]]:
    """Give the last events, oldest first, without those for who debugs."""
    return [dict(event) for event in _RECENT]


def _remembered(_logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if name != "debug":
        _RECENT.append({key: value for key, value in event.items() if key != "traceback"})
    return event


def _factory(stream: TextIO | None, dropped_line: Callable[[int], str]) -> Callable[..., "_Lines"]:
    lines = _Lines(stream, dropped_line)
    return lambda *_: lines


class _Lines:
    """Writes lines, and drops and counts what can't be written: a log that is stuck stops nobody.

    A stream with a descriptor is bypassed: a buffer that couldn't be emptied would come back at
    the process's end and turn its exit status into 120.
    """

    def __init__(self, stream: TextIO | None, dropped_line: Callable[[int], str]) -> None:
        self._stream = stream
        self._dropped_line = dropped_line
        self._dropped = 0
        self._torn = False
        self._descriptor: int | None = None
        if stream is not None:
            with contextlib.suppress(io.UnsupportedOperation, AttributeError, ValueError):
                self._descriptor = stream.fileno()

    def msg(self, line: str) -> None:
        """Write one line, and with it, before it, how many were dropped since the last."""
        told = f"{self._dropped_line(self._dropped)}\n" if self._dropped else ""
        ended = self._write(f"{told}{line}\n")
        if told and ended > 0:
            self._dropped = 0
        if ended < (2 if told else 1):
            self._dropped += 1

    def _write(self, lines: str) -> int:
        """Write what can be written, and give how many lines it ended."""
        if self._descriptor is not None:
            return self._write_at_once(self._descriptor, lines)
        if self._stream is not None:
            try:
                self._stream.write(lines)
                self._stream.flush()
            except (OSError, ValueError):  # ValueError: the stream is closed
                return 0
        return lines.count("\n")

    def _write_at_once(self, descriptor: int, lines: str) -> int:
        """Write as long as nothing has to be waited for.

        The descriptor stays blocking, as its mode is shared with helpers and with whoever started
        us. A pipe with room takes PIPE_BUF bytes at once, in one piece between other writers'.
        """
        mended = b"\n" if self._torn else b""
        data = mended + lines.encode(errors="backslashreplace")
        done = 0
        with contextlib.suppress(OSError):
            while done < len(data) and _has_room(descriptor):
                done += os.write(descriptor, data[done : done + select.PIPE_BUF])
                self._torn = data[done - 1] != ord("\n")
        return data[len(mended) : done].count(b"\n")

    debug = info = warning = error = critical = msg


def _has_room(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def _headed(_logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": name, "event": event.pop("event", ""), **event}


def _with_error(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Turn exc_info into the error and its traceback, each of which stays on the line."""
    info = event.pop("exc_info", None)
    error = info if isinstance(info, BaseException) else None
    if isinstance(info, tuple):
        error = info[1]
    elif info and error is None:
        error = sys.exception()
    if error is not None:
        event.setdefault("error", error_text(error))
        event["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return event


def error_text(error: BaseException) -> str:
    """Name an error, or those that a group holds, with their messages."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(error_text(each) for each in error.exceptions)
    return f"{type(error).__name__}: {_text(error)}"


def _text(value: object) -> str:
    """Give str(value); logging must not fail where somebody else's class does."""
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - anything can come out of a foreign __str__
        return f"<{type(value).__name__} without a text>"


def _with_plain_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {key: _plain(value) for key, value in event.items()}


def _plain(value: object) -> object:
    """Keep what JSON can say exactly; the rest becomes text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, BaseException):
        return error_text(value)
    if isinstance(value, (int, float, list, tuple, dict)):
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            json.dumps(value, allow_nan=False)
            return value
    return _text(value)


def _as_json(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return json.dumps(event)


def _as_text(_logger: WrappedLogger, _name: str, event: EventDict) -> str:
    return " ".join(f"{_word(key)}={_value(value)}" for key, value in event.items())


def _word(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.isprintable() else re.sub(r"\W", "_", key)


def _value(value: Any) -> str:
    """Write a value so that it stays on the line and shows where it ends."""
    text = value if isinstance(value, str) else json.dumps(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
