"""Readers search by the field's words: words of a private vocabulary stay out of what they read."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT

AVOIDED = re.compile(
    r"\b(?:cure[sd]?|ledgers?|books|stand-?ins?|stands? in for|judge?ments?|unheld|told|whoever"
    r"|white[ -]?lists?)\b|替身|白名单",
    re.IGNORECASE,
)
"""Instead: fix, allocation records, mock, decision, unallocated, and what docs/glossary.md has."""

PATTERNS = ("*.md", "docs/**/*.md", "deploy/**/*", "examples/*", "tests/**/README.md")
CODE = {".py", ".pyc"}
PACKAGES = ("teeplugin", "teeplugin_backends")

EXCEPTIONS = {
    "CHANGELOG.md": 2,  # names from before 0.1.0, in the table of what replaced them
}
"""How often each file may still have one. A number may only fall; a file without any goes."""


def read_by_users() -> Iterator[str]:
    found = {path for pattern in PATTERNS for path in ROOT.glob(pattern)}
    for path in sorted(found):
        if path.is_file() and not path.is_symlink() and path.suffix not in CODE:
            yield str(path.relative_to(ROOT))


@pytest.mark.parametrize("name", list(read_by_users()))
def test_a_text_that_users_read_has_the_fields_words(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8", errors="ignore")
    lines = [
        f"{name}:{number}: {found[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for found in AVOIDED.finditer(line)
    ]
    assert len(lines) <= EXCEPTIONS.get(name, 0), lines


def said(source: str) -> Iterator[tuple[int, str]]:
    """Give the texts of a module that are no docstrings, with their lines."""
    tree = ast.parse(source)
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # attributes' too
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in docstrings:
            continue
        if isinstance(node.value, str):
            yield node.lineno, node.value


def test_the_programs_texts_have_the_fields_words() -> None:
    modules = [path for top in PACKAGES for path in (ROOT / top).rglob("*.py")]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in modules
        for line, text in said(path.read_text("utf-8"))
        if " " in text and AVOIDED.search(text)
    ]
    assert len(modules) > 150
    assert found == []


def test_a_text_of_a_module_is_found_and_a_docstring_is_not() -> None:
    source = '"""told"""\nraise E(f"whoever {x}")\n'
    assert [text for _, text in said(source)] == ["whoever "]


def test_the_exceptions_are_files_that_there_are() -> None:
    assert EXCEPTIONS.keys() - set(read_by_users()) == set()


@pytest.mark.parametrize("word", ["cure", "Ledger", "stand-ins", "White list", "whoever", "替身库"])
def test_a_word_that_is_avoided_is_found(word: str) -> None:
    assert AVOIDED.search(f"a {word}: b")


@pytest.mark.parametrize("word", ["secure", "bookkeeping", "standing", "allowlist", "fortold"])
def test_a_word_that_only_has_one_in_it_is_not(word: str) -> None:
    assert not AVOIDED.search(f"a {word}: b")
