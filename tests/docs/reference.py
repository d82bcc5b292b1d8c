"""Writes what the code says anew: `python -m tests.docs.reference`.

That is the pages that `--help` prints, and parts of docs/configuration.md and of its Chinese twin,
each between `<!-- generated: NAME -->` and `<!-- end -->`. test_reference compares.
"""

import functools
import importlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from teeplugin.cli.console import PROGRAM
from teeplugin.cli.main import COMMANDS
from teeplugin.cli.pages import DIRECTORY
from teeplugin.config.go_flags import help_text
from teeplugin.config.settings import SETTINGS, Setting
from teeplugin.daemon.reload import CHANGEABLE
from tests.docs import reference_zh

DOCS = Path(__file__).parents[2] / "docs"

_PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def overview() -> str:
    """All settings in a table."""
    rows = (
        f"| [{key}](#{key}) | {_flags(setting)} | {setting.default} | {setting.description} "
        f"| {_change(setting)} |\n"
        for key, setting in SETTINGS.items()
    )
    return (
        "| setting | flag | default | meaning | takes effect |\n|---|---|---|---|---|\n"
        + "".join(rows)
    )


def facts(key: str) -> str:
    """One setting: how it is written, and what may be given."""
    setting = SETTINGS[key]
    return (
        f"{_flags(setting)}; in the file `{key}:`; in the environment `{setting.variable}`.\n"
        f"Value: {setting.kind}: {setting.rule}. Default: {setting.default}. "
        f"Example: `{setting.flags[0]} {setting.example}`.\n"
    )


def helped() -> str:
    """The help, as a block."""
    summaries = {name: command.summary for name, command in COMMANDS.items()}
    return f"```text\n{help_text(PROGRAM, summaries)}```\n"


def help_pages() -> Mapping[str, str]:
    """The files that `--help` prints, by name."""
    summaries = {name: command.summary for name, command in COMMANDS.items()}
    pages = {"daemon.txt": help_text(PROGRAM, summaries)}
    for name, command in COMMANDS.items():
        pages[f"{name}.txt"] = importlib.import_module(command.module).parser().format_help()
    return pages


def _flags(setting: Setting) -> str:
    return ", ".join(f"`{flag} {setting.metavar}`" for flag in setting.flags)


def _change(setting: Setting) -> str:
    return "at once" if setting.attribute in CHANGEABLE else "after a restart"


Parts = Mapping[str, Callable[[], str]]
"""How each part is made, by its name in the page."""


def _parts(overview: Callable[[], str], facts: Callable[[str], str]) -> Parts:
    made = {"overview": overview, "help": helped}
    return made | {key: functools.partial(facts, key) for key in SETTINGS}


PARTS = _parts(overview, facts)
PAGES: Mapping[Path, Parts] = {
    DOCS / "configuration.md": PARTS,
    DOCS / "configuration.zh-CN.md": _parts(reference_zh.overview, reference_zh.facts),
}


def names(page: str) -> list[str]:
    """The parts that a page's text has, in order."""
    return [match[2] for match in _PART.finditer(page)]


def regenerated(page: str, parts: Parts) -> str:
    """Give the page's text with every part made anew."""
    return _PART.sub(lambda match: f"{match[1]}{parts[match[2]]()}{match[3]}", page)


if __name__ == "__main__":
    for path, its_parts in PAGES.items():
        page_text = regenerated(path.read_text(encoding="utf-8"), its_parts)
        path.write_text(page_text, encoding="utf-8")
    DIRECTORY.mkdir(exist_ok=True)
    for file_name, content in help_pages().items():
        (DIRECTORY / file_name).write_text(content, encoding="utf-8")
