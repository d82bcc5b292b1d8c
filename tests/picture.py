"""Draws docs/live-view.svg from a live view that runs: `python -m tests.picture OUT`, for nox."""

import io
import itertools
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from tests.live_terminal import LiveTerminal
from tests.scratch import scratch_directory

COLUMNS, ROWS = 100, 29
TITLE = "tee-device-plugin simulate --stay"

# Rich's own has fonts that are fetched from the network.
SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>tee-device-plugin simulate --stay</title>
<style>
.{unique_id}-matrix {{
  font: {char_height}px Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
  line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})"
 clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


async def play(terminal: LiveTerminal) -> None:
    """Have pods come, and others use so much that there is a shortage."""
    await terminal.shows("plugin registered(.|\n)* 128 free")
    for keys, seen in (
        ("a", "■ 10 allocated"),
        ("A", "■ 42 allocated"),
        ("a", "■ 52 allocated"),
        ("+", "others +8 MiB"),
        ("+", "others +16 MiB"),
    ):
        terminal.press(keys)
        await terminal.shows(seen)
    await terminal.shows("× 32 unhealthy(.|\n)*plugin +shortage units=32")


def colour(name: str) -> Color | None:
    """One of pyte's colours as one of rich's; None for the terminal's own."""
    if name == "default":
        return None
    plain = name.removeprefix("bright").replace("brown", "yellow")
    return Color.parse(f"bright_{plain}" if name.startswith("bright") else plain)


def style_of(cell: Any) -> Style:
    """How a cell of pyte's is drawn."""
    return Style(
        color=colour(cell.fg), bgcolor=colour(cell.bg), bold=cell.bold, reverse=cell.reverse
    )


def as_text(cells: Mapping[int, Mapping[int, Any]]) -> Text:
    """What stands on a pyte screen, with its colours."""
    lines = []
    for row in range(ROWS):
        line = Text()
        for style, run in itertools.groupby((cells[row][at] for at in range(COLUMNS)), style_of):
            line.append("".join(cell.data for cell in run), style)
        lines.append(line)
    return Text("\n").join(lines)


async def draw(out: Path) -> None:
    with (
        scratch_directory() as scratch,
        LiveTerminal(scratch, columns=COLUMNS, rows=ROWS) as terminal,
    ):
        await play(terminal)
        text = as_text(terminal.buffer)
        terminal.press("q")
        await terminal.ended()
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), color_system="standard", force_terminal=True
    )
    console.print(text)
    svg = console.export_svg(
        title=TITLE, theme=DIMMED_MONOKAI, code_format=SVG, unique_id="live-view"
    )
    out.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(draw, Path(sys.argv[1]))
