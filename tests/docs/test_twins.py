"""Each Chinese page says what its English twin says, as far as its form shows."""

import re
from collections.abc import Callable

import pytest

from tests.docs import twins
from tests.docs.pages import text
from tests.docs.twins import TWINS, differences

PAGE = "docs/operations.zh-CN.md"

CHANGES: dict[str, Callable[[str], str]] = {
    "a heading": lambda page: page.replace("\n## ", "\n### ", 1),
    "a row": lambda page: re.sub(r"\n\| 1 GiB .*", "", page, count=1),
    "a link": lambda page: page.replace("](metrics.md)", "](events.md)", 1),
    "an anchor": lambda page: page.replace("#tee)", "#kubelet)", 1),
    "a name in code type": lambda page: page.replace("`--reserve`", "`--reserved`"),
}


@pytest.mark.parametrize("page", TWINS)
def test_a_chinese_page_and_its_english_twin_have_the_same_form(page: str) -> None:
    assert differences(page, text(page), text(TWINS[page])) == []


@pytest.mark.parametrize("page", TWINS)
def test_a_chinese_page_and_its_english_twin_have_the_same_blocks(page: str) -> None:
    here, there = twins.code(page), twins.code(TWINS[page])
    for translated, original in zip(here, there, strict=False):
        assert translated == original
    assert len(here) == len(there)


@pytest.mark.parametrize("page", TWINS)
def test_each_page_links_to_its_twin(page: str) -> None:
    folder = page.rpartition("/")[0]
    names = (TWINS[page].removeprefix(f"{folder}/"), page.removeprefix(f"{folder}/"))
    assert f"[English]({names[0]})" in text(page)
    assert re.search(rf"\[(简体)?中文\]\({re.escape(names[1])}\)", text(TWINS[page]))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_one_twin_alone_is_noticed(what: str) -> None:
    changed = CHANGES[what](text(PAGE))
    assert changed != text(PAGE)
    assert len(differences(PAGE, changed, text(TWINS[PAGE]))) == 1


def test_a_new_english_sentence_is_noticed() -> None:
    changed = text(TWINS[PAGE]).replace("## Shortage\n", "## Shortage\n\nA new sentence.\n")
    (found,) = differences(PAGE, text(PAGE), changed)
    assert "has changed" in found


def test_the_pictures_differ_in_their_texts_only() -> None:
    def shapes(picture: str) -> str:
        without = re.sub(r"(<(?:text|title|desc)\b[^>]*>)[^<]*", r"\1", picture)
        return re.sub(r"font-family: [^;]*;", "", without)

    assert shapes(text("docs/overview.zh-CN.svg")) == shapes(text("docs/overview.svg"))


def test_blocks_without_comments_are_copied_from_the_english_page() -> None:
    original = "# A\n\n```text\nnew\n```\n\n```sh\nls  # list\n```\n"
    translation = "# 甲\n\n```text\nold\n```\n\n```sh\nls  # 列出\n```\n"
    made = twins.renewed(translation, original)
    assert "new" in made
    assert "old" not in made
    assert "列出" in made
    assert twins.recorded(made) == twins.fingerprint(original)
    assert twins.renewed(made, original) == made


def test_what_is_made_from_the_code_needs_no_translation_anew() -> None:
    page = "a\n<!-- generated: values -->\n{}<!-- end -->\nb\n"
    assert twins.fingerprint(page.format("1\n")) == twins.fingerprint(page.format("2\n"))


RUN = "<!-- written by nox -s matrix -->\n{}<!-- end of what nox -s matrix writes -->\n"


def test_what_a_run_of_tests_wrote_is_copied_and_needs_no_translation_anew() -> None:
    old, new = (RUN.format(f"| a |\n|---|\n| {row} |\n") for row in ("1.36", "1.37 |\n| 1.36"))
    translation = twins.renewed(f"# 甲\n\n{old}", f"# A\n\n{old}")
    (found,) = differences(PAGE, translation, f"# A\n\n{new}")
    assert "copied parts are old" in found
    copied = twins.renewed(translation, f"# A\n\n{new}")
    assert new in copied
    assert differences(PAGE, copied, f"# A\n\n{new}") == []
