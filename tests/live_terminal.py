"""The simulator in a real terminal: a pty, with pyte as the screen that a person would see."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import pyte

from tests.waiting import eventually

SIMULATE = (sys.executable, "-m", "teeplugin", "simulate")
CONTROL_C, CONTROL_D, CONTROL_S, CONTROL_Z = "\x03", "\x04", "\x13", "\x1a"
CONTROL_BACKSLASH = "\x1c"
OTHER_SCREEN, OWN_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
CURSOR_SHOWN = b"\x1b[?25h"

# The first terminal that a session's leader opens is the session's.
_IN_TERMINAL = 'exec "$@" <"$0" >"$0"'
_MAX_BYTES = 65536


class LiveTerminal:
    """One program in a terminal of its own, whose session leader it is, as under a shell's `exec`.

    Its standard error goes into `errors`, so that nothing is drawn over.
    """

    def __init__(
        self,
        scratch: Path,
        *flags: str,
        command: Sequence[str] = (*SIMULATE, "--stay"),
        columns: int = 100,
        rows: int = 28,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.written = b""
        self.errors = scratch.with_suffix(".err")
        self._command = [*command, *flags]
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._environment = {
            **{key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "LINES")},
            "TERM": "xterm-256color",
            "TMPDIR": str(scratch),
            **(environment or {}),
        }
        self._environment.pop("COLUMNS", None)
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._master, False)
        self._size()
        self.modes_before = self.modes()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["sh", "-c", _IN_TERMINAL, os.ttyname(self._slave), *self._command],
                stderr=errors,
                env=self._environment,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.close()

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None
        return self._process

    def close(self) -> None:
        """Close the terminal, as its window is closed."""
        for descriptor in (self._master, self._slave):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def modes(self) -> list[Any]:
        """What a shell would find, but for the sizes of buffers."""
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        self._size()

    def _size(self) -> None:
        size = struct.pack("HHHH", self._screen.lines, self._screen.columns, 0, 0)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)

    @property
    def buffer(self) -> Any:
        """pyte's cells, by row and column, with their colours."""
        self.text()
        return self._screen.buffer

    def text(self) -> str:
        """What is on the screen now."""
        while self._master >= 0:
            try:
                data = os.read(self._master, _MAX_BYTES)
            except (BlockingIOError, OSError):
                break
            if not data:
                break
            self.written += data
            self._stream.feed(data)
        return "\n".join(self._screen.display)

    async def shows(self, pattern: str, deadline_seconds: float = 15) -> str:
        """Wait until the screen has a text of this pattern, and return the screen."""
        before = ""

        def is_shown(text: str) -> bool:
            # Twice the same: what was read may be a part of a frame, above what was there before.
            nonlocal before
            before, is_whole = text, text == before
            return is_whole and re.search(pattern, text) is not None

        return await eventually(
            f"{pattern} on the screen", self._running_text, deadline_seconds, until=is_shown
        )

    def _running_text(self) -> str:
        text = self.text()
        assert self.process.poll() is None or text, self.errors.read_text()
        return text

    async def ended(self, deadline_seconds: float = 10) -> int:
        """Wait for its end, reading what it writes; its exit status."""

        def status() -> int | None:
            self.text()
            return self.process.poll()

        code = await eventually("its end", status, deadline_seconds, until=lambda c: c is not None)
        self.text()
        assert code is not None
        return code

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
