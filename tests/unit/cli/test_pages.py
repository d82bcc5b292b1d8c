"""Help and version as pages that are printed without importing a command."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from teeplugin import __version__
from teeplugin.cli import main as cli
from teeplugin.cli.pages import asked_page, help_page, version_page
from tests.plugin_process import plain_environment


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (["help"], "daemon"),
        (["--help", "status"], "daemon"),
        (["help", "help"], "daemon"),
        (["help", "--help"], "daemon"),
        (["version", "-h"], "daemon"),
        (["help", "status"], "status"),
        (["status", "--format", "json", "--help"], "status"),
        (["size", "-h", "--bogus"], "size"),
    ],
)
def test_a_page_is_found_by_what_asks_for_it(words: Sequence[str], page: str) -> None:
    assert asked_page(words, cli.COMMANDS) == help_page(page)


@pytest.mark.parametrize("word", ["version", "--version", "-version", "-V"])
def test_the_version_is_asked_for_in_four_ways(word: str) -> None:
    assert asked_page([word], cli.COMMANDS) == version_page()
    assert version_page() == f"tee-device-plugin {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [[], ["status"], ["size", "--", "--help"], ["-precision", "--help"], ["help", "stats"]],
)
def test_what_asks_for_no_page_is_left_to_others(words: Sequence[str]) -> None:
    assert asked_page(words, cli.COMMANDS) is None


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["help", "stats"], "help stats: unknown command: did you mean status? the commands are "),
        (["help", "size", "pod"], "help pod: unexpected word: leave it out"),
        (["version", "3"], "version 3: unexpected word: leave it out"),
    ],
)
def test_help_and_version_refuse_other_words(
    words: Sequence[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith(f"tee-device-plugin: {line}")


@pytest.mark.parametrize("words", [["--help"], ["-V"], ["help", "doctor"], ["simulate", "--help"]])
def test_a_page_loads_neither_the_settings_nor_the_command(words: Sequence[str]) -> None:
    script = (
        "import sys; from teeplugin.cli.main import main; main(sys.argv[1:]);"
        "print([each for each in ('argparse', 'pydantic', 'yaml', 'teeplugin.config.settings')"
        " if each in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, *words],
        env=plain_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout
    assert ended.stderr == "[]\n"
