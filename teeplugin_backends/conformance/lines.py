"""Names the line of code that an author can change: the innermost outside the standard library."""

import sys
import traceback
from types import FrameType
from typing import Final

CALLED: Final = sys.stdlib_module_names | {"anyio"}
"""Packages whose lines say nothing: what called them does."""


def is_of_a_library(frame: FrameType) -> bool:
    """Whether a frame is in the standard library or in anyio."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in CALLED


def line_of(frame: FrameType | None) -> str:
    """Name the innermost line outside the libraries, from a frame outwards, as `file:line`."""
    own = frame
    while own is not None and is_of_a_library(own):
        own = own.f_back
    own = own or frame
    return f"{own.f_code.co_filename}:{own.f_lineno}" if own else "an unknown line"


def raised(error: BaseException) -> str:
    """Write an exception with the innermost line outside the libraries that it came through."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not is_of_a_library(frame):
            found = f" at {frame.f_code.co_filename}:{line}"
    return f"{error!r}{found}"
