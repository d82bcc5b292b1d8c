"""Text for a terminal's width: prose is wrapped, paths and commands stay whole."""

import fcntl
import io
import os
import shlex
import struct
import subprocess
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.cli.layout import cell, columns_of, command_lines, padded, terminal_columns, wrapped

WORDS = st.lists(st.text("ab-/温é", min_size=1, max_size=12), min_size=1).map(" ".join)


@given(WORDS, st.integers(12 * 2, 60), st.integers(0, 11), st.integers(0, 23))
def test_wrapped_lines_fit_and_lose_no_word(text: str, width: int, head: int, indent: int) -> None:
    lines = wrapped(text, width, head=head, indent=indent)
    assert head + columns_of(lines[0]) <= width
    assert max(map(columns_of, lines)) <= width
    assert " ".join(lines).split() == text.split()


@given(WORDS, st.integers(1, 30))
def test_a_cell_never_leaves_its_column(text: str, width: int) -> None:
    lines = cell(text, width)
    # A column of one has no room for a wide character.
    assert max(map(columns_of, lines)) <= max(2, width)
    assert "".join("".join(lines).split()) == text.replace(" ", "")


def test_without_a_width_nothing_is_wrapped() -> None:
    text = "word " * 100
    assert wrapped(text, None, head=9, indent=9) == [text]
    assert cell(text, None) == [text]
    assert command_lines("rm " + text, None, indent=2) == [f"  rm {text}"]


def test_a_word_that_is_too_long_for_the_indentation_gets_less_of_it() -> None:
    assert wrapped("see 123456789", 12, head=2, indent=8) == ["see", "   123456789"]
    assert wrapped("1234567890123", 12, head=2, indent=8) == ["", "1234567890123"]


def test_a_flag_and_its_value_stay_together_where_they_fit() -> None:
    assert wrapped("give -precision 512 or more", 16) == ["give", "-precision 512", "or more"]
    assert wrapped("give --precision 512", 14) == ["give", "--precision", "512"]


def test_a_command_is_whole_or_continued_so_that_a_shell_takes_it() -> None:
    command = shlex.join(["rm", *(f"/a b/{'x' * 20}-{number}" for number in range(9))])
    (whole,) = command_lines(command, len(command) + 4, indent=38)
    assert whole == f"    {command}"
    lines = command_lines(command, 60, indent=38)
    assert max(map(len, lines)) <= 60
    assert len(lines) > 3
    assert all(line.endswith(" \\") for line in lines[:-1])
    typed = "\n".join(lines).replace("rm", "printf '%s\\n'", 1)
    read = subprocess.run(["sh", "-c", typed], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert read.splitlines() == shlex.split(command)[1:]


def test_wide_characters_take_two_columns() -> None:
    assert columns_of("a温") == 3
    assert padded("温", 4) == "温  "


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_tells_its_columns_and_a_pipe_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "7")
    assert terminal_columns(None) is None
    assert terminal_columns(io.StringIO()) is None
    assert terminal_columns(Terminal()) == 80
    ours, theirs = os.openpty()
    with os.fdopen(ours, "wb"), os.fdopen(theirs, "w") as terminal:
        assert terminal_columns(terminal) == 80  # it says 0, as it doesn't know
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 132, 0, 0))
        assert terminal_columns(terminal) == 132
