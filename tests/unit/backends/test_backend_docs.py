"""The page about writing a backend: its quotes, kinds, members and checks are the code's."""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import pytest

from teeplugin_backends import base, options
from teeplugin_backends.base import TeeBackend, TeeError
from teeplugin_backends.conformance import BackendConformance
from tests.unit.test_docs import blocks, text

PAGE = "docs/backends.md"
EXAMPLE = Path(__file__).parents[2] / "example_backend"
READS_FILES = Path(__file__).with_name("sysfs_tee.py")


def first_cells(heading: str) -> set[str]:
    """The names in the first column of the table with this heading."""
    table = text(PAGE).partition(f"| {heading} |")[2].partition("\n\n")[0]
    cells = [line.split(" |")[0] for line in table.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def own_members(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


def is_kind(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, TeeError) and value is not TeeError


def test_all_code_is_quoted_from_code_that_is_tested() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for path in (READS_FILES, *EXAMPLE.rglob("*.*"))
        if path.suffix in {".py", ".toml", ".md"}
    ]
    quotes = blocks(PAGE, "python", "toml")
    assert len(quotes) > 8
    for quote in quotes:
        # A method may be quoted without its class.
        method = indent(quote, "    ")
        assert any(quote in source or method in source for source in sources), quote


def test_the_examples_files_are_listed() -> None:
    (listed,) = [block for block in blocks(PAGE, "text") if "pyproject.toml" in block]
    for line in listed.splitlines():
        assert (EXAMPLE / line.split()[0]).is_file(), line
    modules = {f"{path.relative_to(EXAMPLE)}" for path in EXAMPLE.rglob("*.py")}
    assert modules <= {line.split()[0] for line in listed.splitlines()}


def test_every_kind_of_fault_has_its_row_and_there_is_no_other() -> None:
    kinds = {name for name, value in vars(base).items() if is_kind(value)}
    assert first_cells("kind | raise it when") == kinds


def test_the_default_fixes_are_the_codes() -> None:
    table = text(PAGE).partition("| kind | raise it when |")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert {cells[0].strip("`"): cells[-1] for cells in rows} == {
        kind.__name__: kind.default_fix for kind in base.TEE_ERRORS
    }


def test_the_properties_are_marked() -> None:
    told = re.findall(r"^\| `(\w+)` \(property\) \|", text(PAGE), re.MULTILINE)
    properties = [name for name, value in vars(TeeBackend).items() if isinstance(value, property)]
    assert sorted(told) == sorted(properties)


def test_every_member_of_a_backend_has_its_row_and_there_is_no_other() -> None:
    assert first_cells("member | when the plugin calls it") == {
        *own_members(TeeBackend),
        "__aenter__",
        "__aexit__",
    }


def test_the_contracts_numbers_are_the_codes() -> None:
    table = text(PAGE).partition("| constant |")[2].partition("\n\n")[0]
    told = re.findall(r"^\| `(\w+)` \| ([0-9.]+) \|", table, re.MULTILINE)
    numbers = {name: value for name, value in vars(base).items() if name.endswith("_SECONDS")}
    assert {name: float(seconds) for name, seconds in told} == numbers


def test_every_member_of_the_kit_has_its_row_and_there_is_no_other() -> None:
    told = first_cells("member | what it is")
    (played,) = BackendConformance.__bases__
    given = own_members(played) | set(inspect.get_annotations(played))
    assert told == given - {"pytest_generate_tests"}


def test_every_check_of_the_kit_has_its_row_and_there_is_no_other() -> None:
    checks = {name for name in dir(BackendConformance) if name.startswith("test_")}
    assert first_cells("check") == checks


def test_every_kind_of_option_has_its_row_and_there_is_no_other() -> None:
    kinds = {
        name
        for name, value in vars(options).items()
        if inspect.isfunction(value) and value.__module__ == options.__name__
    }
    helpers = {"parse_options", "option_parsers", "pair_text"}
    told = first_cells("kind | value | what it checks")
    assert told == {name for name in kinds if not name.startswith("_")} - helpers


def test_the_messages_about_options_are_as_quoted() -> None:
    @dataclass(frozen=True)
    class Options:
        command: str = options.path("/usr/bin/acme-tee")
        device: str = options.path("/dev/acme-tee", under="/dev/")

    lines = re.findall(r"^--backend acme: option ((\w+)=(\S+): .+)$", text(PAGE), re.MULTILINE)
    assert len(lines) == 2
    for line, key, value in lines:
        with pytest.raises(base.OptionError) as caught:
            options.parse_options({key: value}, Options())
        assert str(caught.value) == line
