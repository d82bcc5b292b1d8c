"""Lays out text for the terminal's width: wraps prose at spaces, and never cuts a command."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Iterator
from typing import TextIO

COMFORTABLE_COLUMNS = 100
"""Prose in longer lines is hard to read, so that a wider terminal gets no longer ones."""

_USUAL_COLUMNS = 80
"""For a terminal that doesn't tell its width, such as a serial line."""

_CONTINUED = " \\"
_COMMAND_INDENT = 4
_WORD = re.compile(
    # A flag and its value are copied together.
    r"(?<!\S)--?[a-z][\w-]* (?!-)\S+|\S+"
)
_SHELL_WORD = re.compile(r"(?:[^\s'\"\\]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\"|['\"\\])+")


def terminal_columns(stream: TextIO | None) -> int | None:
    """Give the width of the terminal behind a stream; None if it is no terminal.

    Without a terminal nothing is to be wrapped: programs like grep read a line for each row.
    """
    if stream is None or not stream.isatty():
        return None
    # Not shutil's: a COLUMNS that was exported long ago would count for more than the terminal.
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    return _USUAL_COLUMNS


def columns_of(text: str) -> int:
    """Count the columns that a text takes; wide characters, as in Chinese, take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, columns: int) -> str:
    """Fill a text up with spaces to so many columns; a longer one stays as it is."""
    return text + " " * (columns - columns_of(text))


def wrapped(text: str, width: int | None, *, head: int = 0, indent: int = 0) -> list[str]:
    """Wrap a text at spaces into lines of at most `width` columns; None wraps nothing.

    `head` columns of the first line are taken already, by what the caller puts before it. Further
    lines are indented. A word that is too long for the indentation gets less of it, and one that is
    too long for the terminal stays whole: a path that was cut can't be copied.
    """
    if width is None:
        return [text]
    lines: list[str] = []
    line, used, is_new = "", head, True
    for word in _words(text, width):
        columns = columns_of(word)
        space = "" if is_new else " "
        if used + len(space) + columns <= width:
            line, used = line + space + word, used + len(space) + columns
        else:
            if head or not is_new or lines:
                lines.append(line)
            margin = max(0, min(indent if lines else 0, width - columns))
            line, used = " " * margin + word, margin + columns
        is_new = False
    return [*lines, line]


def cell(text: str, width: int | None) -> list[str]:
    """Wrap a table's cell to its column. No line is longer, as it would move the next column.

    So a word that is longer than the column is cut.
    """
    lines = []
    for line in wrapped(text, width):
        rest = line
        while width and columns_of(rest) > width:
            fits = next((end for end in range(width, 0, -1) if columns_of(rest[:end]) <= width), 1)
            lines.append(rest[:fits])
            rest = rest[fits:]
        lines.append(rest)
    return lines


def command_lines(command: str, width: int | None, *, indent: int) -> list[str]:
    """Write a command to copy on a line of its own, or on several that can be pasted as one.

    Where `indent` leaves too little room, the command gets less of it. What is longer than the
    terminal is continued by a backslash between the shell's words.
    """
    columns = columns_of(command)
    if width is None or columns + _COMMAND_INDENT <= width:
        return [" " * (indent if width is None else min(indent, width - columns)) + command]
    lines, line = [], " " * _COMMAND_INDENT
    for word in _SHELL_WORD.findall(command):
        if line.strip() and columns_of(f"{line} {word}{_CONTINUED}") > width:
            lines.append(line + _CONTINUED)
            line = " " * (_COMMAND_INDENT + 2)
        line = f"{line} {word}" if line.strip() else line + word
    return [*lines, line]


def _words(text: str, width: int) -> Iterator[str]:
    for match in _WORD.finditer(text):
        word = match[0]
        yield from (word,) if columns_of(word) <= width else word.split()
