"""Draws pictures of the node on a terminal, with rich, which only the extra `simulate` brings.

Colours are the terminal's own sixteen, and nothing is told by colour alone.
"""

import contextlib
import io
import select
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from teeplugin.policy.units import counted, format_size
from teeplugin.simulator.live.lines import clock
from teeplugin.simulator.live.picture import HISTORY_SECONDS, Key, Mark, Picture
from teeplugin.simulator.timeline import ERROR, KUBELET, PLAYED, PLUGIN, WARNING, Entry


@dataclass(frozen=True, slots=True)
class _Look:
    """How something is drawn: its glyph, the one for terminals without it, style and name."""

    glyph: str
    ascii: str
    style: str
    name: str

    def drawn(self, *, ascii_only: bool) -> tuple[str, str]:
        """Give the glyph with its style."""
        return (self.ascii if ascii_only else self.glyph), self.style


_UNITS: Mapping[Mark, _Look] = {
    Mark.ALLOCATED: _Look("■", "#", "bold cyan", "allocated"),
    Mark.FREE: _Look("□", ".", "green", "free"),
    Mark.UNHEALTHY: _Look("×", "x", "bold red", "unhealthy"),
    Mark.ALLOCATED_UNHEALTHY: _Look("▣", "%", "bold magenta", "allocated, unhealthy"),
}
_USES: Mapping[str, _Look] = {
    "pods": _Look("█", "#", "cyan", "pods"),
    "others": _Look("▓", "+", "yellow", "others"),
    "used": _Look("▓", "+", "yellow", "used"),
    "free": _Look("░", ".", "green", "free"),
}

_LEVEL_STYLES = {WARNING: "yellow", ERROR: "bold red"}
_SOURCE_STYLES = {KUBELET: "blue", PLUGIN: "magenta", PLAYED: "bold"}

_MEMORY_COLUMNS = 32
_PODS_COLUMNS = 26
_MEMORY_LINES = 7
_FRAME_LINES, _FRAME_COLUMNS = 2, 4
_HEADER_LINES = 3
_BARS, _ASCII_BARS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
_KEY_GAP = "   "


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


@dataclass(frozen=True, slots=True)
class View:
    """The whole screen."""

    picture: Picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay the parts out on as much room as there is."""
        picture, width = self.picture, options.max_width
        height = options.height or console.height
        keys = list(_key_lines(picture.keys, width))
        room = max(0, height - _HEADER_LINES - len(keys))
        map_columns = max(1, width - _MEMORY_COLUMNS - _FRAME_COLUMNS)
        wanted = -(-len(picture.marks) // map_columns) + 1 + _FRAME_LINES
        upper = min(max(_MEMORY_LINES, wanted), room // 2)
        root, above, below = Layout(), Layout(size=upper), Layout()
        root.split_column(
            Layout(_header(picture, width, ascii_only=options.ascii_only), size=_HEADER_LINES),
            above,
            below,
            Layout(Text("\n").join(keys), size=len(keys)),
        )
        above.split_row(
            Layout(_framed(counted(len(picture.marks), "unit"), _UnitMap(picture.marks))),
            Layout(
                _framed(_memory_title(picture), _Memory(picture)),
                size=_MEMORY_COLUMNS,
            ),
        )
        below.split_row(
            Layout(_framed(counted(len(picture.pods), "pod"), _pods(picture)), size=_PODS_COLUMNS),
            Layout(_events(picture)),
        )
        yield root


@dataclass(frozen=True, slots=True)
class _UnitMap:
    """One mark a unit, in the order of the ids; where there are too many, one for several."""

    marks: Sequence[Mark]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width)
        room = width * max(1, (options.height or console.height) - 1)
        each = max(1, -(-len(self.marks) // room))
        row = Text(no_wrap=True, overflow="crop")
        for at in range(0, len(self.marks), each):
            # The worst of those that share a mark is not to be overlooked.
            worst = max(self.marks[at : at + each], key=lambda mark: mark.value)
            row.append(*_UNITS[worst].drawn(ascii_only=options.ascii_only))
            if len(row) == width:
                yield row
                row = Text(no_wrap=True, overflow="crop")
        if len(row):
            yield row
        yield self._legend(each, ascii_only=options.ascii_only)

    def _legend(self, each: int, *, ascii_only: bool) -> Text:
        counts = Counter(self.marks)
        parts = []
        # The fourth comes only with a fault, which leaves none of the others but the third.
        usual = not counts[Mark.ALLOCATED_UNHEALTHY]
        for mark, look in _UNITS.items():
            if counts[mark] or (usual and mark is not Mark.ALLOCATED_UNHEALTHY):
                glyph, style = look.drawn(ascii_only=ascii_only)
                parts.append(Text.assemble((glyph, style), f" {counts[mark]} {look.name}"))
        if each > 1:
            parts.append(Text(f"one mark is {each}"))
        # No gap behind the last one: where there is no room for it, it would look cut.
        return Text(_KEY_GAP, no_wrap=True, overflow="ellipsis").join(parts)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Who uses the TEE's memory, as a bar and in numbers."""

    picture: Picture

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del console
        picture, width = self.picture, options.max_width
        if picture.uses is None:
            yield Text("unknown: no reading", no_wrap=True, overflow="ellipsis")
            return
        shares = [(_USES[user], size_bytes) for user, size_bytes in picture.uses.items()]
        bar, told, drawn = Text(no_wrap=True, overflow="crop"), 0, 0
        for look, size_bytes in shares:
            told += size_bytes
            ends = min(width, round(width * told / max(1, picture.total_bytes)))
            glyph, style = look.drawn(ascii_only=options.ascii_only)
            bar.append(glyph * max(0, ends - drawn), style)
            drawn = max(drawn, ends)
        yield bar
        for look, size_bytes in shares:
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append(*look.drawn(ascii_only=options.ascii_only))
            yield line.append(f" {look.name:<8}{format_size(size_bytes):>12}")


@dataclass(frozen=True, slots=True)
class _Last:
    """As many of the last lines as there is room for."""

    lines: Sequence[Text]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.lines[-max(1, options.height or console.height) :]


def _framed(title: str, content: "_UnitMap | _Memory | _Last | Text") -> Panel:
    return Panel(content, title=f"[bold]{title}[/bold]", title_align="left", border_style="dim")


def _memory_title(picture: Picture) -> str:
    known = picture.uses is not None
    return f"TEE memory {format_size(picture.total_bytes)}" if known else "TEE memory"


def _header(picture: Picture, width: int, *, ascii_only: bool) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {picture.resource}", "bold")
    backend = f", backend {picture.backend}" if picture.backend else ""
    text.append(f" of {format_size(picture.unit_bytes)} each, on a simulated node{backend}\n")
    for state in picture.states:
        text.append(f" {state.name} ")
        text.append(state.text, "green" if state.ok else "bold red")
        text.append("  ")
    most, bars = max(1, len(picture.marks)), _ASCII_BARS if ascii_only else _BARS
    words = (" last minute: healthy ", " allocated ")
    columns = max(1, min(HISTORY_SECONDS, width - len("".join(words))) // 2)
    text.append(f"\n{words[0]}")
    text.append(_bars([each.healthy for each in picture.history], most, bars, columns), "green")
    text.append(words[1])
    allocated = [each.allocated for each in picture.history]
    return text.append(_bars(allocated, most, bars, columns), "cyan")


def _bars(counts: Sequence[int], most: int, bars: str, columns: int) -> str:
    """Draw a minute of numbers, several seconds a column; their highest isn't overlooked."""
    each = -(-HISTORY_SECONDS // columns)
    peaks = [max(counts[at : at + each]) for at in range(0, len(counts), each)]
    drawn = (bars[min(len(bars) - 1, -(-(len(bars) - 1) * peak // most))] for peak in peaks)
    return "".join(drawn).ljust(columns)


def _events(picture: Picture) -> Panel:
    if picture.reason is not None:
        return _framed("why", Text(picture.reason))
    return _framed("last events", _Last([_event(each) for each in picture.entries]))


def _pods(picture: Picture) -> _Last:
    width = _PODS_COLUMNS - _FRAME_COLUMNS
    lines = []
    for name, units in picture.pods:
        count = str(units)
        line = Text(name, no_wrap=True)
        line.truncate(max(1, width - len(count) - 1), overflow="ellipsis", pad=True)
        lines.append(line.append(f" {count}", "cyan"))
    return _Last(lines)


def _event(entry: Entry) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{clock(entry.at)} ", "dim")
    line.append(f"{entry.source:<8}", _SOURCE_STYLES.get(entry.source, ""))
    return line.append(entry.words, _LEVEL_STYLES.get(entry.level, ""))


def _key_lines(keys: Sequence[Key], width: int) -> Iterator[Text]:
    """The keys with what they do, on as many lines as they need."""
    line = Text(no_wrap=True, overflow="crop")
    for key in keys:
        word = Text.assemble(" ", (key.key, "reverse"), f" {key.label}")
        if len(line) and len(line) + len(word) + 1 > width:
            yield line
            line = Text(no_wrap=True, overflow="crop")
        line.append_text(word).append(" ")
    yield line
