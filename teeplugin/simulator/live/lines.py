"""Writes pictures of the node as plain lines, where there is no terminal to draw on."""

import time
from types import TracebackType
from typing import Self, TextIO

from teeplugin.policy.units import format_size
from teeplugin.simulator.live.picture import Picture
from teeplugin.simulator.report import Unwritable


class Lines:
    """One line for each event, and one for the units whenever their numbers are others."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._last_entry = 0
        self._last_units = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def show(self, picture: Picture) -> None:
        """Write what is new.

        Raises:
            Unwritable: nobody reads any more.
        """
        for entry in picture.entries:
            if entry.number > self._last_entry:
                self._line(f"{clock(entry.at)} {entry.source:<8}{entry.text}")
                self._last_entry = entry.number
        units = (
            f"{len(picture.marks)} listed, {picture.allocated} allocated, {picture.free} free, "
            f"{picture.unhealthy} unhealthy; TEE memory: {_memory(picture)}"
        )
        if units != self._last_units:
            self._last_units = units
            self._line(f"{clock(time.time())} {'units':<8}{units}")

    def _line(self, text: str) -> None:
        try:
            print(text, file=self._output, flush=True)
        except OSError as error:
            raise Unwritable from error


def _memory(picture: Picture) -> str:
    if picture.uses is None:
        return "unknown"
    return ", ".join(f"{user} {format_size(count)}" for user, count in picture.uses.items())


def clock(at: float) -> str:
    """Write a time.time() as the time of the day here."""
    return time.strftime("%H:%M:%S", time.localtime(at))
