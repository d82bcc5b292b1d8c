"""examples/ is complete, used and shipped; blocks don't rely on where another block went."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from teeplugin.cli.console import PROGRAM
from tests.docs.pages import PAGES, ROOT, blocks, text

EXAMPLES = ROOT / "examples"
FILES = {path.name for path in EXAMPLES.iterdir()}
READMES = sorted(
    str(path.relative_to(ROOT))
    for folder in ("deploy", "examples", "tests")
    for path in (ROOT / folder).rglob("README.md")
)
CHANGES_FOLDER = re.compile(r"(^|&&|;)\s*(cd|pushd)\b", re.MULTILINE)
BARE_PROGRAM = re.compile(rf"(^|&&|;|\|)\s*{PROGRAM}\b", re.MULTILINE)


def test_the_readme_of_the_examples_names_each_and_no_other() -> None:
    named = set(re.findall(r"^\| `([\w.]+)`", text("examples/README.md"), re.MULTILINE))
    assert named == FILES - {"README.md"}


def test_each_example_is_used_or_shown_by_a_page() -> None:
    used = {
        name
        for page in PAGES
        for block in blocks(page)
        for name in re.findall(r"examples/([\w.]+)", f"{block.words}\n{block.body}")
    }
    assert used == FILES - {"README.md"}


def test_the_source_archive_has_the_examples(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50)
    (archive,) = tmp_path.iterdir()
    with tarfile.open(archive) as opened:
        paths = [Path(name).parts[1:] for name in opened.getnames()]
    assert {path[1] for path in paths if path[0] == EXAMPLES.name} == FILES


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", *READMES])
def test_no_block_leaves_the_reader_in_another_folder(page: str) -> None:
    for block in blocks(page):
        is_the_way_in = "git clone" in block.body
        leaves = block.is_command and CHANGES_FOLDER.search(block.body) and not is_the_way_in
        assert not leaves, block.name


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", *READMES])
def test_blocks_name_the_program_by_its_path(page: str) -> None:
    for block in blocks(page):
        assert not (block.is_command and BARE_PROGRAM.search(block.body)), block.name
