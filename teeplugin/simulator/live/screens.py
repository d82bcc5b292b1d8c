"""Shows pictures of the node: drawn on a terminal by rich, or told in lines; used by session."""

import contextlib
import io
import select
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live

from teeplugin.policy.units import format_size
from teeplugin.simulator.live.picture import Picture
from teeplugin.simulator.live.view import View, clock
from teeplugin.simulator.report import Unwritable


class Drawing:
    """The terminal's other screen, given back at the end."""

    def __init__(self, output: TextIO) -> None:
        if isinstance(output, io.TextIOWrapper):
            # What the terminal's encoding doesn't have is written as a question mark.
            output.reconfigure(errors="replace")
        self._output = output
        self._live = Live(
            console=Console(file=output, highlight=False, force_terminal=True),
            screen=True,
            # Drawn when something changes, by the loop that everything else runs in.
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):  # closed: there is nothing to be given back
            self._live.stop()

    def show(self, picture: Picture) -> None:
        """Draw it, unless the terminal takes nothing now: the next one will do.

        Raises:
            OSError: the terminal is gone.
        """
        if select.select([], [self._output], [], 0)[1]:
            self._live.update(View(picture), refresh=True)


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
            f"{len(picture.marks)} listed, {picture.held} held, {picture.free} free, "
            f"{picture.unhealthy} unhealthy; TEE memory: pods {format_size(picture.pods_bytes)}, "
            f"others {format_size(picture.others_bytes)}, free {format_size(picture.free_bytes)}"
        )
        if units != self._last_units:
            self._last_units = units
            self._line(f"{clock(time.time())} {'units':<8}{units}")

    def _line(self, text: str) -> None:
        try:
            print(text, file=self._output, flush=True)
        except OSError as error:
            raise Unwritable from error
