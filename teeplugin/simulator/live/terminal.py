r"""Single keys from a terminal, which is given back as it was in every case.

The terminal still makes a signal of Ctrl-C, so that it ends what hangs, but not of Ctrl-Z and
Ctrl-\, which would leave it as it is, and does not stop the output at Ctrl-S.
"""

import asyncio
import contextlib
import os
import re
import termios
from collections.abc import Callable
from types import TracebackType
from typing import Self

_INPUT_FLAGS, _LOCAL_FLAGS, _CONTROL_CHARACTERS = 0, 3, 6
"""Where termios.tcgetattr() keeps them."""

_DISABLED = b"\x00"
_MAX_BYTES = 1024
_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:[\[O][0-?]*[ -/]*[@-~]?|.)?")


def is_usable(descriptor: int) -> bool:
    """Whether keys can be read there: a terminal, and we are in its foreground."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


class Keys:
    """Reads keys while it is entered: `pressed` gets each, `closed` is called if no more can come.

    A key is one character; what a terminal sends as an escape sequence, such as arrows, is not for
    us, and left out.
    """

    def __init__(
        self, descriptor: int, *, pressed: Callable[[str], None], closed: Callable[[], None]
    ) -> None:
        self._descriptor = descriptor
        self._pressed = pressed
        self._closed = closed

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._descriptor)
        now = termios.tcgetattr(self._descriptor)
        now[_INPUT_FLAGS] &= ~termios.IXON
        now[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
        now[_CONTROL_CHARACTERS][termios.VSUSP] = _DISABLED
        now[_CONTROL_CHARACTERS][termios.VQUIT] = _DISABLED
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        termios.tcsetattr(self._descriptor, termios.TCSANOW, now)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        # A terminal that was closed has nothing to be given back. Nothing here waits for one that
        # takes no output, and keys that nobody read are not for the shell.
        with contextlib.suppress(termios.error):
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._descriptor, termios.TCSANOW, self._before)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _MAX_BYTES)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._closed()
        for key in _ESCAPE_SEQUENCE.sub("", data.decode(errors="ignore")):
            self._pressed(key)
