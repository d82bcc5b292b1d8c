"""The documents say what is there: flags, variables, events, modules, commands and links."""

import ast
import contextlib
import importlib
import io
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

from teeplugin.cli.console import PROGRAM
from teeplugin.cli.main import COMMANDS
from teeplugin.cli.pages import HELP, VERSION
from teeplugin.config.go_flags import help_text, read_flags
from teeplugin.config.settings import SETTINGS
from teeplugin.config.sources import CONFIG_VARIABLE
from teeplugin.policy.variables import unit_variables

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    *sorted(path.name for path in ROOT.glob("*.md")),
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")),
    "deploy/monitoring/README.md",
)
EVERYWHERE = (
    *DOCUMENTS,
    *sorted(
        name
        for folder in ("deploy", "tests")
        for path in (ROOT / folder).rglob("README.md")
        if (name := str(path.relative_to(ROOT))) not in DOCUMENTS
    ),
)
"""Those that users read, and the READMEs beside what they are about."""

INSTALLING = ("README.md", "docs/installation.md", "CONTRIBUTING.md")
SHELLS = {"sh", "console"}
LEVELS = {"debug", "info", "warning", "error", "critical"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
_LINK = re.compile(r"\[[^]\n]+\]\(([^)\s]+)\)")


@cache
def text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def prose(document: str) -> str:
    """A document without its fenced blocks."""
    return _FENCE.sub("", text(document))


def code_spans(document: str) -> list[str]:
    return _CODE.findall(prose(document))


def blocks(document: str, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(text(document)) if language in languages]


def commands(document: str) -> list[list[str]]:
    """The commands of the shell blocks, as words."""
    lines = "".join(blocks(document, *SHELLS)).replace("\\\n", " ").splitlines()
    found = [shlex.split(line.removeprefix("$ "), comments=True) for line in lines]
    # A variable before a command is none of its words.
    found = [[word for word in words if not re.match(r"[A-Z_]+=", word)] for words in found]
    # Nor is the file that its output goes to.
    found = [list(itertools.takewhile(">".__ne__, words)) for words in found]
    return [words for words in found if words]


def rows(document: str) -> Iterator[list[str]]:
    """The cells of every table row."""
    for line in text(document).splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" |")]


def daemon_help() -> str:
    return help_text(PROGRAM, {name: command.summary for name, command in COMMANDS.items()})


def help_flags() -> set[str]:
    """What stands first in the lines of `--help`, or in a list there."""
    return set(re.findall(r"(?:^  |(?<=, ))(--?[a-z][a-z-]*)", daemon_help(), re.MULTILINE))


@cache
def command_flags(name: str) -> frozenset[str]:
    """The flags of a command; the daemon's as well where its help says that it takes them."""
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        importlib.import_module(COMMANDS[name].module).main(["--help"])
    shown = output.getvalue()
    also = help_flags() if "FLAGS" in shown else set[str]()
    return frozenset(set(_FLAG.findall(shown)) | also)


# Flags and settings


def test_every_flag_of_the_help_is_in_the_reference() -> None:
    spans = code_spans("docs/configuration.md")
    assert help_flags() - {flag for span in spans for flag in span.split()} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_flag_that_is_named_exists(document: str) -> None:
    spans = [span for span in code_spans(document) if span.startswith("-") and span != "-"]
    named = {re.split(r"[ =:]", span)[0] for span in spans}
    assert named - help_flags() - {"-V"} - {
        flag for name in COMMANDS for flag in command_flags(name)
    } == (set())


def test_the_documents_name_the_variables_there_are_and_no_others() -> None:
    handed = set(unit_variables("huawei.com/tee-ram", 1, 1))
    read = {setting.variable for setting in SETTINGS.values()} | {CONFIG_VARIABLE}
    variable = r"\b(?:TEEPLUGIN|TEE_RAM)_[A-Z_]*[A-Z]"
    read |= set(re.findall(variable, text("deploy/executable/header.sh")))
    named = {name for page in DOCUMENTS for name in re.findall(variable, text(page))}
    # The help's word for any of them.
    assert named - {"TEEPLUGIN_NAME"} == handed | read
    assert handed <= set(re.findall(variable, text("docs/sizing.md")))
    assert read <= set(re.findall(variable, text("docs/configuration.md")))


# Commands


@pytest.mark.parametrize("document", EVERYWHERE)
def test_every_make_target_that_is_named_exists(document: str) -> None:
    lines = [words[1:] for words in commands(document) if words[0] == "make"]
    lines += [span.split()[1:] for span in code_spans(document) if span.startswith("make ")]
    for words in lines:
        folder = f"{words[1]}/" if words[:1] == ["-C"] else ""
        rules = re.findall(r"^([a-z][a-z -]*):", text(f"{folder}Makefile"), re.MULTILINE)
        targets = {target for rule in rules for target in rule.split()}
        rest = words[2 if folder else 0 :]
        named = {word for word in rest if "=" not in word and not word.startswith("-")}
        assert named - targets == set()


def test_the_documents_name_every_make_target_that_has_help() -> None:
    helped = set(re.findall(r"^#   make ([a-z-]+)", text("Makefile"), re.MULTILINE))
    lines = [words for page in INSTALLING for words in commands(page)]
    lines += [span.split() for page in INSTALLING for span in code_spans(page) if span.strip()]
    named = {word for words in lines if words[0] == "make" for word in words[1:2]}
    assert helped - named == set()


@pytest.mark.parametrize("document", EVERYWHERE)
def test_every_command_line_of_the_plugin_is_one_it_takes(document: str) -> None:
    lines = [words for words in commands(document) if Path(words[0]).name == PROGRAM]
    spans = (span for span in code_spans(document) if span.startswith(f"{PROGRAM} "))
    lines += [shlex.split(span) for span in spans]
    for _, *words in lines:
        if words and words[0] in (HELP, VERSION):
            assert set(words[1:]) <= {*COMMANDS, "[COMMAND]"}
        elif words and words[0] in COMMANDS:
            flags = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
            assert flags - command_flags(words[0]) == set()
        else:
            # Refuses what is unknown, and words where none may stand.
            read_flags(words, {})


def sessions() -> set[str]:
    """The functions of the noxfile that are sessions."""

    def is_session(decorator: ast.expr) -> bool:
        return ast.unparse(decorator).startswith("nox.session")

    functions = [
        node for node in ast.parse(text("noxfile.py")).body if isinstance(node, ast.FunctionDef)
    ]
    return {each.name for each in functions if any(map(is_session, each.decorator_list))}


@pytest.mark.parametrize("document", EVERYWHERE)
def test_every_nox_session_that_is_named_exists(document: str) -> None:
    named = re.findall(r"nox -s \"?([a-z_]+)", text(document))
    assert set(named) - sessions() == set()


def test_the_contributing_page_has_a_row_for_every_session() -> None:
    told = {cells[0].strip("`") for cells in rows("CONTRIBUTING.md")}
    assert sessions() - told == set()


# Modules


OUTLINED = {"api", "simulator", "commands/doctor", "commands/sizing"}
"""Rooms that the architecture describes as a whole; of the others it names every module."""


def modules_of(package: Path) -> set[str]:
    """The modules and outlined rooms below a package, as the architecture writes them."""
    found = set[str]()
    for path in package.rglob("*.py"):
        name = path.relative_to(package)
        rooms = {parent.as_posix() for parent in name.parents}
        whole = rooms & OUTLINED
        found |= {f"{room}/" for room in whole}
        if not whole and (name.name != "__init__.py" or len(name.parts) == 1):
            found.add(name.as_posix())
    return found


def test_the_architecture_has_a_line_for_every_module_and_for_no_other() -> None:
    told = [cells[0].strip("`") for cells in rows("docs/architecture.md")]
    named = {name for name in told if re.fullmatch(r"[\w/]+(\.py|/)", name)}
    backends = {"base.py", "options.py", "simulated.py", "conformance/", "libteec/"}
    assert modules_of(ROOT / "teeplugin") == named - backends
    assert backends <= named
    entries = {path.name for path in (ROOT / "teeplugin_backends").glob("[a-z]*")}
    assert entries - {"py.typed"} == {name.strip("/") for name in backends}


def layers() -> Sequence[str]:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (found,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    return list(map(str, found))


def test_the_import_layers_shown_are_those_that_are_checked() -> None:
    (shown,) = blocks("docs/architecture.md", "layers")
    assert shown.splitlines() == layers()


# Links


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("document", EVERYWHERE)
def test_every_relative_link_leads_somewhere(document: str) -> None:
    for link in _LINK.findall(prose(document)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_of_the_checkout_that_is_named_exists(document: str) -> None:
    folders = "(?:teeplugin|teeplugin_backends|tests|protos|docs|ta|ca)"
    named = [span for span in code_spans(document) if re.fullmatch(rf"{folders}/[\w./]*", span)]
    assert [path for path in named if not (ROOT / path).exists()] == []
