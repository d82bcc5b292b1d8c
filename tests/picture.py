"""Draws docs/live-view.svg from a live view that runs: `python -m tests.picture OUT`, for nox."""

import html
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

# Rich's own has fonts that are fetched from the network. At this size a letter of most fonts for
# terminals, 0.602 em wide, is as wide as a column: librsvg stretches no text.
SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<title>tee-device-plugin simulate --stay</title>
<style>
.{unique_id}-matrix {{
  font: 20.26px Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
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
    await terminal.shows("× 32 unhealthy(.|\n)*plugin +shortage: 32 units")


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


def words(match: re.Match[str]) -> str:
    """Give each word of a text a place of its own.

    librsvg leaves spaces out at the ends of a text, and then stretches the rest to its length.
    """
    drawn = match[0]
    start, length = (
        float(re.search(rf'{name}="([0-9.]+)"', drawn)[1])  # type: ignore[index]  # rich has both
        for name in (" x", "textLength")
    )
    content = html.unescape(drawn[drawn.index(">") + 1 : drawn.rindex("<")]).replace("\xa0", " ")
    column = length / max(1, len(content))
    head = drawn[: drawn.index(">") + 1]
    placed = []
    for word in re.finditer(r"\S+", content):
        width = column * len(word[0])
        tag = re.sub(r' x="[0-9.]+"', f' x="{start + column * word.start():.1f}"', head)
        tag = re.sub(r'textLength="[0-9.]+"', f'textLength="{width:.1f}"', tag)
        placed.append(f"{tag}{html.escape(word[0], quote=False)}</text>")
    return "".join(placed)


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
    svg = re.sub(r"<text [^>]*textLength[^>]*>[^<]*</text>", words, svg)
    out.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    anyio.run(draw, Path(sys.argv[1]))
