"""Every command of the guide is typed here, block by block, or says why it can't be."""

import re
from collections.abc import Iterator

import pytest

from teeplugin.cli.console import PROGRAM
from tests.docs.pages import PAGES, ROOT, Block, blocks, text
from tests.docs.twins import TWINS
from tests.docs.workbench import Workbench, workbench

TYPED = [page for page in PAGES if page not in TWINS]
LANGUAGES = {"sh", "text", "yaml", "json", "xml", "toml", "python"}
LANGUAGES |= {"layers", "mermaid", "dockerfile"}


def is_run_here(block: Block) -> bool:
    return block.is_command and block.kind != "not run" and not block.on_a_cluster


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with workbench(tmp_path_factory.mktemp("guide")) as made:
        yield made


@pytest.mark.parametrize("page", [page for page in TYPED if any(map(is_run_here, blocks(page)))])
def test_a_pages_commands_do_as_they_are_typed(page: str, bench: Workbench) -> None:
    try:
        for block in filter(is_run_here, blocks(page)):
            if block.goes_on:
                bench.begin(block)
            else:
                bench.run(block)
    finally:
        bench.end()


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_looked_at(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, block.name
        assert block.mark_is_known, f"{block.name}: run: {block.words}"
        assert block.is_command or block.kind in {"", "file"}, block.name
        assert not (block.is_command and block.kind == "file"), block.name


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_is_not_run_has_a_reason_in_words(page: str) -> None:
    for block in blocks(page):
        assert block.kind != "not run" or len(block.words.split()) > 2, block.name


@pytest.mark.parametrize("page", PAGES)
def test_a_file_that_is_shown_is_in_the_checkout_as_it_is_shown(page: str) -> None:
    for block in blocks(page):
        if block.kind == "file":
            assert (ROOT / block.words).read_text(encoding="utf-8") == block.body, block.name
            assert f"`{block.words}`" in block.above, f"{block.name}: the text doesn't name it"


NEEDS = re.compile(r"needs?\b|minutes|on (the|a) (node|host)|需要", re.IGNORECASE)
NODE = re.compile(r"node|host|节点", re.IGNORECASE)


@pytest.mark.parametrize("page", PAGES)
def test_the_text_above_a_block_says_that_it_needs_a_node(page: str) -> None:
    for block in blocks(page):
        assert not block.on_a_node or NODE.search(block.above), block.name


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_a_readme_says_in_its_text_what_a_block_needs_that_is_not_pasted(page: str) -> None:
    for block in blocks(page):
        if block.kind == "not run" or block.on_a_node:
            assert NEEDS.search(block.above), block.name


@pytest.mark.parametrize("page", TYPED)
def test_a_page_says_what_installs_the_program_before_its_first_command(page: str) -> None:
    for block in blocks(page):
        for folder, maker in ((".venv/bin/", "make simulate"), ("pkg/", "`make`")):
            if block.is_command and f"{folder}{PROGRAM}" in block.body and not block.on_a_cluster:
                above = text(page).partition(block.body)[0]
                assert maker in above, f"{block.name}: {folder} without {maker}"


def test_most_of_what_can_be_typed_is_typed() -> None:
    every = [block for page in TYPED for block in blocks(page) if block.is_command]
    run = [block for block in every if block.kind != "not run"]
    assert len(run) > len(every) / 2
    print(f"\n{len(every)} blocks of commands: {len(run)} are run, of which ", end="")
    print(f"{sum(block.on_a_cluster for block in run)} on a cluster")
