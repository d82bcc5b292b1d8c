"""Words that were mistyped: the one that was meant is named, also within commands."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from teeplugin.cli import main as cli

QUOTE = "has a typographic quote (U+201C)"
LETTER = "which the shell takes for a letter"
TA = Path(__file__).parents[1] / "commands" / "sizing" / "full.xml"


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("tee-device-plugin: ")
    return err.removeprefix("tee-device-plugin: ").rstrip()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["status", "--fromat", "json"],
            (
                "--fromat: unknown flag: did you mean --format? "
                "tee-device-plugin status --help lists them"
            ),
        ),
        (
            ["identity", "--json"],
            "--json: unknown flag: tee-device-plugin identity --help lists them",
        ),
        (
            ["size", "--sesions", "2", "a.xml"],
            (
                "size: --sesions: unknown flag: did you mean --sessions? "
                "tee-device-plugin size --help lists the flags"
            ),
        ),
        (
            ["pod", "--image", "ca:1", "--usr=0", "a.xml"],
            (
                "pod: --usr: unknown flag: did you mean --user? "
                "tee-device-plugin pod --help lists the flags"
            ),
        ),
        (
            ["simulate", "--scenarios", "tour"],
            (
                "simulate: --scenarios: unknown flag: did you mean --scenario? "
                "tee-device-plugin simulate --help lists the flags"
            ),
        ),
        (
            ["simulate", "shortage"],
            (
                "simulate: shortage: unexpected word: tee-device-plugin simulate --help lists "
                "the flags"
            ),
        ),
        (
            ["doctor", "--format", "jsn"],
            "doctor: --format jsn: must be text or json: did you mean json?",
        ),
        (
            ["size", "--format", "xml", "a.xml"],
            "size: --format xml: must be table or json or yaml: give e.g. table",
        ),
        (
            ["completion", "zhs"],
            "completion: zhs: must be bash or zsh: did you mean zsh?",
        ),
        (
            ["simulate", "--total", "64Q"],
            "--total 64Q: ",
        ),
    ],
)
def test_a_command_names_what_was_probably_meant(
    words: Sequence[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(words, capsys).startswith(line)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "\u2014precision",
            (
                "\u2014precision: begins with a typographic dash (U+2014), not with a hyphen: "
                "write --precision"
            ),
        ),
        (
            "\u2013precision=512",
            (
                "\u2013precision=512: begins with a typographic dash (U+2013), not with a hyphen: "
                "write -precision=512"
            ),
        ),
        (
            "--log-level=\u201cdebug\u201d",
            f"--log-level=\u201cdebug\u201d: {QUOTE}, {LETTER}: write --log-level='debug'",
        ),
        (
            "\u2018debug\u2019",
            f"\u2018debug\u2019: has a typographic quote (U+2018), {LETTER}: write 'debug'",
        ),
    ],
)
def test_typographic_dashes_and_quotes_are_recognised(
    word: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal([word], capsys) == line
    assert refusal(["status", word], capsys) == line


def test_typographic_quotes_are_recognised_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plugin.yaml"
    file.write_text("precision: \u201c512\u201d\n", encoding="utf-8")
    assert "has a typographic quote (U+201C): give" in refusal(["--config", str(file)], capsys)


@pytest.mark.parametrize("word", ["-\u56fd", "caf\u00e9", "it\u2019s", "1\u2013\u200b2"])
def test_other_letters_are_no_typography(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "typographic" not in refusal(["size", "--binary", word, str(TA), str(TA)], capsys)
