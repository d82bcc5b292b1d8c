"""The guide's pages, cut into headings and fenced blocks; read by the tests beside it.

A comment on the line above a block says what is special about it:

    <!-- not run: REASON -->          nobody runs it here, for this reason
    <!-- run: on a cluster -->        tests/cluster/test_guide.py runs it
    <!-- run: on a node -->           it needs an installed plugin that runs; test_blocks has one
    <!-- run: until the page ends --> it goes on beside the blocks that follow
    <!-- file: PATH -->               no command: this file of the checkout has the same content

A shell block without any is run by test_blocks, in the top folder of a checkout. The text
that a reader sees has to say what a marked block needs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = (
    "README.md",
    "README.zh-CN.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
)

SHELLS = frozenset({"sh", "bash", "shell", "console"})
"""What marks a block as commands."""

ON_A_CLUSTER = "on a cluster"
ON_A_NODE = "on a node"
UNTIL_THE_PAGE_ENDS = "until the page ends"

_FENCE = re.compile(r"```(?P<language>[\w-]*)$")
_MARK = re.compile(r"<!-- (?P<kind>not run|run|file): (?P<words>.+?) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is its opening fence's, counted from 1.

    `kind` is "run", "not run" or "file", and `words` what follows it; both are empty without mark.
    `above` is the paragraph that a reader sees above it.
    """

    page: str
    line: int
    language: str
    body: str
    kind: str = ""
    words: str = ""
    above: str = ""

    @property
    def name(self) -> str:
        """Where it is, for a test's name."""
        return f"{self.page}:{self.line}"

    @property
    def is_command(self) -> bool:
        """Whether it is to be typed."""
        return self.language in SHELLS

    @property
    def on_a_cluster(self) -> bool:
        """Whether it needs a cluster, and is run there."""
        return (self.kind, self.words) == ("run", ON_A_CLUSTER)

    @property
    def on_a_node(self) -> bool:
        """Whether it needs a node on which the plugin runs."""
        return (self.kind, self.words) == ("run", ON_A_NODE)

    @property
    def goes_on(self) -> bool:
        """Whether it runs beside the blocks that follow it."""
        return (self.kind, self.words) == ("run", UNTIL_THE_PAGE_ENDS)

    @property
    def mark_is_known(self) -> bool:
        """Whether its mark is one of those above."""
        return self.kind != "run" or self.words in {*(ON_A_CLUSTER, ON_A_NODE, UNTIL_THE_PAGE_ENDS)}


def text(page: str, root: Path = ROOT) -> str:
    return (root / page).read_text(encoding="utf-8")


def blocks(page: str, root: Path = ROOT) -> list[Block]:
    return list(_blocks(page, text(page, root).splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    """Cut out the fenced blocks.

    Raises:
        ValueError: a fence is indented, isn't closed, or closes nothing.
    """
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("```"):
            continue
        fence = _FENCE.match(line)
        if fence is None:
            raise ValueError(f"{page}:{number}: {line!r}: a fence stands alone at a line's start")
        if opened is None:
            opened = (number, fence["language"])
            continue
        if fence["language"]:
            raise ValueError(f"{page}:{number}: a block begins within that of line {opened[0]}")
        start, language = opened
        mark = _MARK.match(lines[start - 2]) if start > 1 else None
        kind, words = (mark["kind"], mark["words"]) if mark else ("", "")
        body = "".join(f"{each}\n" for each in lines[start : number - 1])
        above = _paragraph(lines[: start - (2 if mark else 1)])
        yield Block(page, start, language, body, kind, words, above)
        opened = None
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: the block isn't closed")


def _paragraph(lines: list[str]) -> str:
    """Join the lines of the last paragraph."""
    return "\n".join(lines).strip().rpartition("\n\n")[2]


def without_comments(body: str) -> str:
    """Shell lines without their comments and the spaces before them: what two languages share."""
    lines = (re.sub(r"(^|\s+)# .*$", "", line).rstrip() for line in body.splitlines())
    return "\n".join(line for line in lines if line)
