"""Help and version, printed without importing a command: importing it takes most of the time.

The pages lie in `help/`, one for each command; `python -m tests.docs.reference` writes them.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from teeplugin import __version__
from teeplugin.cli.console import PROGRAM

HELP, VERSION = "help", "version"
"""The commands that have no module."""

DIRECTORY = Path(__file__).with_name("help")
_DAEMON = "daemon"
_HELP_FLAGS = frozenset({"--help", "-help", "-h", "--h"})
_VERSION_FLAGS = frozenset({"--version", "-version", "-V", VERSION})


def help_page(command: str = _DAEMON) -> str:
    """Read the help of a command, or of the daemon."""
    return (DIRECTORY / f"{command}.txt").read_text(encoding="utf-8")


def version_page() -> str:
    """Write the program's name and version."""
    return f"{PROGRAM} {__version__}\n"


def _version_json() -> str:
    import json  # noqa: PLC0415 - the other pages are printed without

    from teeplugin.primitives.document import document  # noqa: PLC0415 - likewise

    return f"{json.dumps(document(VERSION, {}), indent=2)}\n"


def asked_page(words: Sequence[str], commands: Collection[str]) -> str | None:
    """Give the page that a command line asks for.

    None: it asks for none, or for one that doesn't exist.
    """
    page = None
    match list(words):
        case [word, *_] if word in _HELP_FLAGS:
            page = help_page()
        case [word] if word in _VERSION_FLAGS:
            page = version_page()
        case ["version", "--format", "json"] | ["version", "--format=json"]:
            page = _version_json()
        case ["help"] | ["help", "help" | "version"]:
            page = help_page()
        case ["help", word] if word in commands:
            page = help_page(word)
        case [word, *rest] if word in (HELP, VERSION, *commands):
            end = rest.index("--") if "--" in rest else len(rest)
            if _HELP_FLAGS & {*rest[:end]}:
                page = help_page(word if word in commands else _DAEMON)
    return page
