"""A node to play with, until it is quit: reads keys, does and shows them.

On a terminal it is drawn; elsewhere each change is a line. Keys are read where there is somebody to
press them.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, TextIO

from teeplugin.config.settings import ConfigError
from teeplugin.simulator.live.controls import QUIT, Controls, Pace
from teeplugin.simulator.live.lines import Lines
from teeplugin.simulator.live.picture import Photographer
from teeplugin.simulator.live.terminal import Keys, is_usable
from teeplugin.simulator.stage import Stage

if TYPE_CHECKING:
    from teeplugin.simulator.live.view import Drawing

_FRAME_SECONDS = 0.05
"""Between two pictures at least: a pod's admission changes several things at once."""

_STILL_SECONDS = 1.0
"""Between two at most: some of what is shown changes with time only."""

_END_OF_INPUT = "\x04"


async def stay(stage: Stage, opening: Callable[[Pace], Awaitable[None]], output: TextIO) -> None:
    """Show the stage and obey keys until it is quit; first of all `opening` is done.

    Raises:
        ConfigError: the plugin is no program that can be run, or the live view isn't installed.
        OSError: the terminal is gone.
        Unwritable: nobody reads the output any more.
    """
    log = stage.kubelet.log
    pace = Pace()
    controls, photographer = Controls(stage, pace), Photographer(stage)
    presses: asyncio.Queue[str] = asyncio.Queue()
    quit_asked = asyncio.Event()

    def ask_to_quit() -> None:
        quit_asked.set()
        log.wake()

    def pressed(key: str) -> None:
        if key in (QUIT, _END_OF_INPUT):
            ask_to_quit()
        elif controls.look(key):
            log.wake()
        else:
            presses.put_nowait(key)

    async def obey() -> None:
        await opening(pace)
        while True:
            await controls.press(await presses.get())
            log.wake()

    screen = _screen(output)
    with ExitStack() as stack:
        if (descriptor := _keyboard()) is not None:
            stack.enter_context(Keys(descriptor, pressed=pressed, closed=ask_to_quit))
        stack.enter_context(screen)
        stack.enter_context(_called_at_resizes(log.wake))
        obeying = asyncio.create_task(obey())
        obeying.add_done_callback(lambda _: log.wake())
        try:
            while not (quit_asked.is_set() or obeying.done()):
                keys, why = controls.offered(), controls.shows_reason
                screen.show(photographer.take(keys, with_reason=why))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_STILL_SECONDS):
                        await log.changed()
                await asyncio.sleep(_FRAME_SECONDS)
        finally:
            await _end(obeying)


@contextlib.contextmanager
def _called_at_resizes(wake: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, wake)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def _end(obeying: asyncio.Task[None]) -> None:
    """Cancel it; it has no end of its own, so what ended it before is for the caller."""
    obeying.cancel()
    await asyncio.wait({obeying})
    if not obeying.cancelled() and (error := obeying.exception()):
        raise error


def _keyboard() -> int | None:
    """The descriptor that keys can be read from, if there is one."""
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
        if is_usable(sys.stdin.fileno()):
            return sys.stdin.fileno()
    return None


def _screen(output: TextIO) -> "Drawing | Lines":
    """Draw where that can be seen: not in a pipe, a file, a dumb terminal or the background."""
    dumb = os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")
    if dumb or not is_usable(output.fileno()):
        return Lines(output)
    try:
        from teeplugin.simulator.live.view import Drawing  # noqa: PLC0415 - rich is for it alone
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        raise ConfigError(
            "--stay: the live view needs the package rich, which is not installed: install the "
            "extra `simulate` from this checkout or release (pip install '.[simulate]'), pipe the "
            "output (--stay | cat) for plain lines, or leave --stay away"
        ) from None
    return Drawing(output)
