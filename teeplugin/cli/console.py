"""How commands write their output and complain."""

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TextIO

PROGRAM = "tee-device-plugin"
EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


def put(text: str, *, for_programs: bool = False) -> int:
    """Write to standard output, and give the exit status.

    Flushes, because at the end of the process it would be too late to handle an error. What the
    output's encoding doesn't have is written as an escape. A file or pipe that is `for_programs`
    gets UTF-8 whatever the locale is: YAML has no other encoding in use.
    """
    if sys.stdout is None:  # closed by the caller
        return EXIT_FAILURE
    try:
        if for_programs and not sys.stdout.isatty() and hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8")
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        _give_up(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # `| head -1` has what it wanted
            complain(f"standard output: can't be written ({error.strerror}): free its device")
        return EXIT_FAILURE
    return 0


def warn(lines: Iterable[str]) -> None:
    """Write warnings to standard error, one line each."""
    for line in lines:
        complain(f"warning: {line}")


def complain(message: str) -> None:
    """Write one line to standard error; who closed it wants none."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"{PROGRAM}: {message}\n")
            sys.stderr.flush()
        except OSError:
            _give_up(sys.stderr)


def _give_up(stream: TextIO) -> None:
    """Discard what is still in the buffer: it would be tried, and fail, at the process's end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
