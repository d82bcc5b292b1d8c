"""What a fuzz target is, and what all of them ask of an input; used by targets, engine, replay."""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

MAX_SECONDS = 1.0
"""Of the processor's time, for one input: others may be using the machine."""

MAX_GROWTH_BYTES = 256 * 1024**2
"""How much more memory than before one input may take."""

CORPUS = Path(__file__).parent / "corpus"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """A parser with an oracle: `run` takes any bytes, and raises where something is wrong.

    It catches the errors that the parser documents, and those only. `words` are what the mutations
    should know: keys, magic numbers. Inputs have at most `most_bytes`.
    """

    name: str
    run: Callable[[bytes], None]
    words: tuple[str | bytes, ...] = ()
    most_bytes: int = 2000

    @property
    def corpus(self) -> Path:
        """Where its inputs are kept."""
        return CORPUS / self.name


class TooSlowError(BaseException):
    """An input takes too long; no Exception, which a parser might take for one of its own."""


class TooLargeError(Exception):
    """An input takes too much memory."""


def run_limited(target: Target, data: bytes) -> None:
    """Run a target on one input, within the limits.

    Raises:
        TooSlowError: it takes more than `MOST_SECONDS`.
        TooLargeError: the process has grown by more than `MOST_GROWTH_BYTES`.
        BaseException: whatever else is wrong.
    """
    peak_bytes, began = _peak_bytes(), time.process_time()
    before = signal.signal(signal.SIGPROF, _too_slow)
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        target.run(data)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    if (
        took := time.process_time() - began
    ) > MAX_SECONDS:  # where C code allocated the signal back
        raise TooSlowError(f"{took:.1f} s")
    if (grown_bytes := _peak_bytes() - peak_bytes) > MAX_GROWTH_BYTES:
        raise TooLargeError(f"{grown_bytes // 1024**2} MiB")


def _too_slow(_number: int, _frame: FrameType | None) -> None:
    raise TooSlowError(f"more than {MAX_SECONDS:g} s")


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextlib.contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """Make a regular file with this content, and give its path."""
    file = os.memfd_create("fuzz")
    try:
        os.write(file, data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)


def check_line(error: BaseException, names: str = "") -> None:
    """Have an error's text be a line that can be shown on any terminal, and that `names` this.

    What isn't UTF-8 is escaped by standard error.
    """
    told = str(error)
    assert told, f"{type(error).__name__} says nothing"
    written = told.encode("utf-8", "backslashreplace").decode()
    assert written.isprintable(), f"not one printable line: {told!r}"
    assert names in told, f"doesn't name {names}: {told}"


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        value: T = ended.value
        return value
    finally:
        coroutine.close()
    raise AssertionError("it waits")


def as_text(data: bytes) -> str:
    """Read bytes as the command line's and the environment's words are read."""
    return data.decode("utf-8", "surrogateescape")


def parts_of(data: bytes, count: int) -> list[bytes]:
    """Split an input at its zeros into `count` parts, the missing ones being empty."""
    return (data.split(b"\0", count - 1) + [b""] * count)[:count]
