"""Leads the standard library's log records into ours, one line each and not too many; log's own.

grpclib and asyncio log a traceback for each malformed request, so whoever reaches the socket
could otherwise fill the node's disk.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from structlog.typing import FilteringBoundLogger

MAX_PER_WINDOW = 10
WINDOW_SECONDS = 60.0
MAX_KINDS = 100
"""Kinds of messages told apart; beyond it, a logger's messages share one count."""

_KIND_LENGTH = 80


@dataclass(slots=True)
class _Window:
    ends: float
    passed: int = 0
    dropped: int = 0


class RateLimit:
    """Lets `most` messages of a kind pass in each window, and counts the rest."""

    def __init__(
        self,
        most: int = MAX_PER_WINDOW,
        seconds: float = WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def admits(self, logger: str, kind: str) -> bool:
        """Count one message, and tell whether it passes."""
        key = (logger, kind)
        if key not in self._windows and len(self._windows) >= MAX_KINDS:
            key = (logger, "")
        window = self._windows.setdefault(key, _Window(ends=self._clock() + self._seconds))
        if window.passed < self._most:
            window.passed += 1
            return True
        window.dropped += 1
        return False

    def ended(self) -> Iterator[tuple[str, str, int]]:
        """Close the windows that are over, giving logger, kind and count where some dropped."""
        now = self._clock()
        for key in [key for key, window in self._windows.items() if window.ends <= now]:
            if dropped := self._windows.pop(key).dropped:
                yield *key, dropped


class Router(logging.Handler):
    """Hands records to our logger, reduced to what an operator needs."""

    def __init__(self, log: FilteringBoundLogger, level: int, limit: RateLimit) -> None:
        super().__init__(level)
        self._log, self._limit = log, limit

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record, unless it is one too many of its kind."""
        for logger, kind, dropped in self._limit.ended():
            self._log.warning("log_lines_dropped", logger=logger, like=kind, dropped=dropped)
        # The template names the kind; asyncio has none, but begins with a line that is the same.
        kind = str(record.msg).partition("\n")[0][:_KIND_LENGTH]
        if not self._limit.admits(record.name, kind):
            return
        first, *rest = _message(record).splitlines() or [""]
        details: dict[str, Any] = {"logger": record.name}
        if rest:
            details["detail"] = "; ".join(line.strip() for line in rest)
        details |= self._error(record)
        self._log.log(_level(record.levelno), first, **details)

    def not_raised(self, hook: "sys.UnraisableHookArgs") -> None:
        """Log an error that came up where nobody can catch it: else it were a bare traceback."""
        where = getattr(hook.object, "__qualname__", type(hook.object).__qualname__)
        self._log.error("unraisable_error", error=hook.exc_value, where=where)

    def _error(self, record: logging.LogRecord) -> dict[str, Any]:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            return {}
        if self.level <= logging.DEBUG:
            return {"exc_info": error}
        return {"error": error}


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format in a library must not end a task of ours
        return str(record.msg)


def _level(number: int) -> int:
    """Round a library's own level down to one that we have."""
    return min(max(number // 10 * 10, logging.DEBUG), logging.CRITICAL)


def route_standard_library(log: FilteringBoundLogger, level: int) -> None:
    """Lead records from `level` up, and Python's warnings, to `log`.

    What libraries think worth an INFO, such as each stream that ended, is told only to who debugs.
    """
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, Router)]:
        root.removeHandler(handler)
    router = Router(log, level, RateLimit())
    root.addHandler(router)
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    # Says several lines for each header of each request.
    logging.getLogger("hpack").setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.unraisablehook = router.not_raised
