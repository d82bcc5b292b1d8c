"""Opens the files that a user names: regular ones only, a failure is one line."""

import stat
import sys
from pathlib import Path
from typing import BinaryIO

from teeplugin.config.settings import ConfigError, shown_path

STANDARD_INPUT = "-"
"""The path that means standard input, of `size` and `pod`."""


def opened(path: str, *, may_be_input: bool = False) -> BinaryIO:
    """Open a regular file for reading bytes; or standard input, where that may be named.

    Raises:
        ConfigError: there is none, or it can't be read.
    """
    if path == STANDARD_INPUT and may_be_input:
        if sys.stdin is None:
            raise unreadable(path, "standard input is closed")
        return sys.stdin.buffer
    try:
        # Looked at before it is opened: a pipe would wait for its writer, a device may act.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ConfigError(f"{shown_path(path)}: is not a regular file: give a file's path")
        return Path(path).open("rb")
    except OSError as error:
        raise unreadable(path, error.strerror or "unknown error") from None
    except ValueError:
        raise unreadable(path, "no path has a NUL character") from None


def unreadable(path: str, why: str) -> ConfigError:
    """Make the line for a file that can't be read."""
    return ConfigError(f"{shown_path(path)}: can't be read ({why}): give a readable file")
