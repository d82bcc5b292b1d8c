"""The command line: every mistake is one line and exit status 2, run as the real program."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from teeplugin import __version__
from teeplugin.cli import main as cli
from teeplugin.cli.console import PROGRAM
from teeplugin.config.go_flags import help_text, read_flags
from teeplugin.config.settings import SETTINGS, ConfigError, Settings
from tests.plugin_process import plain_environment

COMMANDS = {"simulate": "try it"}


def program(
    *words: str, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "teeplugin", *words],
        env=plain_environment() | dict(environ or {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def refusal(words: Sequence[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        read_flags(words, COMMANDS)
    return str(caught.value)


# Value, rule and fix of each line, in this order.
MISTAKES = {
    ("-precision", "511"): ["-precision 511", "must be 512 or more", "e.g. -precision 512"],
    ("-precision", "abc"): ["-precision abc", "not a whole number of KB", "give 512 or more"],
    ("-precision",): ["-precision", "needs a value", "give 512 or more"],
    ("-internal", "-1"): ["-internal -1", "must be 0 or more", "e.g. -internal 60"],
    ("--precison=600",): ["--precison", "unknown flag", "did you mean -precision? --help"],
    ("--config", "{yaml}/unknown.yaml"): [
        "unknown.yaml line 2: precison",
        "unknown key",
        "did you",
    ],
    ("--config", "{yaml}/mistyped.yaml"): [
        "mistyped.yaml line 2: precision",
        "must be one value, not a list",
        "write `precision: VALUE`",
    ],
    ("--config", "{yaml}/missing.yaml"): ["missing.yaml", "can't be read", "give a readable"],
    ("--backend", "simulate"): ["--backend simulate", "no such backend", "simulated"],
    ("--backend-option", "colour=red"): [
        "--backend libteec",
        "option colour=red",
        "no such option",
        "there are flavour",
    ],
    ("--resource-name", "tee-ram"): ["tee-ram", "must have one /", "give vendor.domain/name"],
    ("--kubelet-dir", "{yaml}/unknown.yaml"): ["unknown.yaml", "not an existing directory", "give"],
    ("simulte",): ["simulte", "unknown command", "did you mean simulate?"],
}


@pytest.fixture(scope="module")
def yaml_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("yaml")
    (directory / "unknown.yaml").write_text("# ours\nprecison: 600\n")
    (directory / "mistyped.yaml").write_text("# ours\nprecision: [600]\n")
    return directory


@pytest.mark.parametrize("words", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_with_value_rule_and_fix(
    words: tuple[str, ...], yaml_dir: Path
) -> None:
    ended = program(*(word.format(yaml=yaml_dir) for word in words))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("tee-device-plugin: ")
    assert ended.stderr.endswith("\n")
    places = [ended.stderr.find(part) for part in MISTAKES[words]]
    assert -1 not in places, ended.stderr
    assert places == sorted(places), ended.stderr


def test_a_mistake_in_the_environment_is_one_line_too() -> None:
    ended = program(environ={"TEEPLUGIN_PRECISION": "abc"})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "tee-device-plugin: environment TEEPLUGIN_PRECISION=abc: not a whole number of KB:"
        " give 512 or more, e.g. TEEPLUGIN_PRECISION=512\n"
    )


def test_help_for_a_reader_that_leaves_early_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        ended = subprocess.run(
            [sys.executable, "-m", "teeplugin", "--help"],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize("command", [None, *cli.COMMANDS])
def test_help_that_cannot_be_written_is_a_failure(command: str | None) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "teeplugin", *([command] if command else []), "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_printing_the_configuration_onto_a_full_disk_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert cli.main(["--print-config"]) == 1
        monkeypatch.undo()
    assert "standard output: can't be written (No space left on device)" in capsys.readouterr().err


def test_the_help_fits_a_screen_of_80_by_24() -> None:
    text = help_text(PROGRAM, {name: each.summary for name, each in cli.COMMANDS.items()})
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "simulate" in text
    assert "-precision KB" in text
    assert "(the backend's own)" in text
    for setting in SETTINGS.values():
        assert all(f" {flag}" in text for flag in setting.flags)


@pytest.mark.parametrize("flag", ["--help", "-help", "-h", "--h"])
def test_help_is_given_in_every_spelling(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([flag, "--whatever-follows"]) == 0
    assert capsys.readouterr().out.startswith("usage: tee-device-plugin ")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"tee-device-plugin {__version__}\n"


def test_print_config_ends_as_the_plugin_would_with_this_backend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "teeplugin.daemon.run", None)
    assert cli.main(["-precision", "600", "--print-config"]) == 0
    assert capsys.readouterr().err == ""
    for words, complaint in (
        (["--backend", "nosuch"], "--backend nosuch: no such backend: "),
        (["--backend-option", "uid=1"], "--backend libteec: option uid=1: "),
    ):
        assert cli.main(["-precision", "600", *words, "--print-config"]) == 2
        out, err = capsys.readouterr()
        assert "precision: 600" in out
        assert "# flag -precision\n" in out
        assert err.startswith(f"tee-device-plugin: {complaint}")


@pytest.mark.parametrize(
    "words",
    [
        ["-precision", "600", "-internal", "5"],
        ["--precision=600", "--internal=5"],
        ["-precision=600", "--health-interval", "5"],
        ["-precision=1", "-internal=1", "-health-interval=5", "--precision", "600", "--"],
    ],
)
def test_command_lines_of_the_go_plugin_go_on_working(words: list[str]) -> None:
    given = {key: text for key, _, text in read_flags(words, COMMANDS).values}
    assert given == {"precision": "600", "health-interval": "5"}


@pytest.mark.parametrize("value", ["-1", "-inf", "-x", "--", "-", "", "a=b=c"])
def test_a_value_may_begin_with_a_dash(value: str) -> None:
    assert read_flags(["--backend", value], COMMANDS).values[0].text == value
    assert read_flags([f"--backend={value}"], COMMANDS).values[0].text == value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-precision", "--log-level", "debug"], "-precision: needs a value: give 512 or more"),
        (["--config"], "--config: needs a value: give a YAML file"),
        (["--print-config=yes"], "--print-config=yes: takes no value: give --print-config alone"),
        (["-prec", "512"], "-prec: unknown flag: did you mean -precision? --help lists them"),
        (["--kubelet_dir=/"], "--kubelet_dir: unknown flag: did you mean --kubelet-dir?"),
        (["---precision"], "---precision: unknown flag: did you mean -precision?"),
        (["-zzz"], "-zzz: unknown flag: --help lists them"),
        (["-precision 512"], "'-precision 512': unknown flag: did you mean -precision?"),
        (["--log-level", "debug", "simulate"], "simulate: must be the first word"),
        (["--", "x"], "--: unknown command: "),
        ([""], "'': unknown command: "),
        (["-"], "-: unknown command: "),
        (["frob\nnicate"], "'frob\\nnicate': unknown command: the commands are simulate;"),
    ],
)
def test_a_word_that_is_not_understood_is_named(words: list[str], expected: str) -> None:
    assert refusal(words).startswith(expected)


def with_module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    module = ModuleType(name)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def _quiet_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the daemon's set-up of logging out of the other tests."""
    monkeypatch.setattr("teeplugin.logs.setup.configure", lambda *_: None)


@pytest.mark.usefixtures("_quiet_log")
def test_bare_it_is_the_daemon_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []

    def run(settings: Settings, _: object) -> int:
        seen.append(settings)
        return 7

    with_module(monkeypatch, "teeplugin.daemon.run", run=run)
    assert cli.main(["-precision", "1024"]) == 7
    assert [each.precision_kb for each in seen] == [1024]


@pytest.mark.usefixtures("_quiet_log")
def test_what_the_daemon_refuses_is_one_line_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        raise ConfigError("-precision 512: too fine:\ngive 1024 or more")

    with_module(monkeypatch, "teeplugin.daemon.run", run=run)
    assert cli.main([]) == 2
    expected = "tee-device-plugin: -precision 512: too fine: give 1024 or more\n"
    assert capsys.readouterr().err == expected


def test_no_control_character_of_a_value_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["size", "--\x1b[2J\t", "a.xml"]) == 2
    told = capsys.readouterr().err
    assert r"size: '--\x1b[2J\t': unknown flag: tee" in told
    assert told.strip().isprintable()


@pytest.mark.usefixtures("_quiet_log")
def test_a_bug_of_the_daemon_ends_it_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> int:
        raise RuntimeError("a bug")

    with_module(monkeypatch, "teeplugin.daemon.run", run=run)
    assert cli.main([]) == 1


@pytest.mark.usefixtures("_quiet_log")
def test_an_interrupt_before_the_loop_ends_quietly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        raise KeyboardInterrupt

    with_module(monkeypatch, "teeplugin.daemon.run", run=run)
    assert cli.main([]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_command_parses_its_own_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: Sequence[str]) -> int:
        return len(argv)

    with_module(monkeypatch, "teeplugin.simulator.command", main=run)
    assert cli.main(["simulate", "--of-its", "own"]) == 2


def test_a_closed_standard_error_is_no_second_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert cli.main(["--bogus"]) == 2
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["--help"]) == 1


def test_a_flag_without_its_dash_is_taken_and_told() -> None:
    # The original's DaemonSet has it so, and Go's flags say nothing of it.
    line = read_flags(["-precision=512", "internal=30"], {})
    assert [(each.key, each.text) for each in line.values] == [
        ("precision", "512"),
        ("health-interval", "30"),
    ]
    assert line.without_dash == ("internal=30",)
    with pytest.raises(ConfigError, match="interal=30: is not a flag"):
        read_flags(["interal=30"], {})
