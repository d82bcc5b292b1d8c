"""The parts of docs/configuration.md and its twin that are made from the code are up to date."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from teeplugin.cli.pages import DIRECTORY
from teeplugin.config.settings import SETTINGS
from teeplugin.policy.units import (
    comfortable_precision_kb,
    finest_precision_kb,
    format_size,
    parse_size,
)
from teeplugin_backends import simulated
from teeplugin_backends.libteec import options
from teeplugin_backends.options import option_parsers
from tests.docs import backend_reference, reference_zh
from tests.docs.pages import text
from tests.docs.reference import PAGES, PARTS, help_pages, names, regenerated

CONFIGURATION = text("docs/configuration.md")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = page.partition(f"\n{heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines is not None, heading
    return [
        [cell.strip() for cell in line.strip("|").split(" |")] for line in lines[0].splitlines()[2:]
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_reference_is_what_the_code_makes(page: Path) -> None:
    written = page.read_text(encoding="utf-8")
    assert regenerated(written, PAGES[page]) == written, "run: python -m tests.docs.reference"


def test_the_chinese_reference_translates_no_word_that_the_code_no_longer_has() -> None:
    assert reference_zh.WORDS.keys() - reference_zh.used() == set()


def test_the_pages_of_help_are_what_the_code_makes() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.iterdir()}
    assert written == help_pages(), "run: python -m tests.docs.reference"


def test_the_pages_of_help_fit_80_columns() -> None:
    for page in help_pages().values():
        assert max(map(len, page.splitlines())) <= 80


def test_the_reference_has_every_part_once_and_in_the_models_order() -> None:
    assert sorted(names(CONFIGURATION)) == sorted(PARTS)
    assert [name for name in names(CONFIGURATION) if name in SETTINGS] == list(SETTINGS)


def test_every_setting_has_a_heading_of_its_own() -> None:
    headings = re.findall(r"^### ([\w-]+)$", CONFIGURATION, re.MULTILINE)
    assert headings == [*SETTINGS, "libteec", "simulated"]


def test_every_option_of_libteec_is_told_with_its_default() -> None:
    told = {row[0].strip("`"): row[2].strip("`") for row in rows(CONFIGURATION, "### libteec")}
    assert set(told) == set(option_parsers(options.Options))
    plain = options.Options()
    assert told.pop("ta-path") == plain.ta_file.replace(plain.uuid, "<uuid>")
    assert told.pop("library") == "found by the loader"
    assert plain.library is None
    defaults = {key: str(getattr(plain, key.replace("-", "_"))) for key in told}
    assert told == defaults | {"confidential-node": defaults["confidential-node"].lower()}


def test_every_option_of_the_simulated_tee_is_told_with_its_default() -> None:
    told = {
        name.strip("` "): row[1]
        for row in rows(CONFIGURATION, "### simulated")
        for name in row[0].split(",")
    }
    assert set(told) == set(option_parsers(simulated.Options))
    script = simulated.Script()
    assert parse_size(told["total"]) == script.total
    for field in fields(script):
        if field.name != "total":
            assert told[field.name] == str(getattr(script, field.name)).removesuffix(".0")
    assert told["access"] == simulated.SimulatedTee().options.access


def test_the_table_of_precisions_is_right() -> None:
    table = rows(text("docs/operations.md"), "## Choose the unit size")
    assert len(table) > 5
    for capacity, units, comfortable, finest in table:
        size_bytes = parse_size(capacity)
        assert format_size(size_bytes) == capacity
        assert units == f"{size_bytes // (512 * 1024):,}"
        assert int(comfortable) == comfortable_precision_kb(size_bytes)
        assert int(finest) == finest_precision_kb(size_bytes)


def test_the_reference_of_backends_is_what_base_says() -> None:
    assert text("docs/backends-api.md") == backend_reference.reference(), (
        "run: python -m tests.docs.backend_reference"
    )
