"""The YAML file: what it may hold, and the line that names each mistake."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.config.settings import ConfigError, Settings
from tests.unit.config.config_loading import loaded_from, refusal, yaml_file


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "~\n", "{}\n", "\ufeff"])
def test_an_empty_file_is_fine(tmp_path: Path, text: str) -> None:
    assert loaded_from(file=yaml_file(tmp_path, text)).settings == Settings()


def test_every_key_can_be_written_with_underscores(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "health_interval: 5\nbackend_options: {a_b: 1}\n")
    settings = loaded_from(file=file).settings
    assert settings.health_interval_seconds == 5
    assert settings.backend_options == {"a_b": "1"}


def test_scalars_of_options_become_the_text_that_was_written(tmp_path: Path) -> None:
    file = yaml_file(
        tmp_path,
        "backend-options:\n"
        "  truth: yes\n  lie: False\n  quoted: 'yes'\n  octal: 010\n  time: 1:30\n  float: 1.50\n",
    )
    assert loaded_from(file=file).settings.backend_options == {
        "truth": "true",
        "lie": "false",
        "quoted": "yes",
        "octal": "010",
        "time": "1:30",
        "float": "1.50",
    }


def test_options_whose_lines_are_all_comments_are_none(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "backend-options:\n  # total: 4GiB\n")
    assert loaded_from(file=file).settings.backend_options == {}


def test_a_reserve_in_yaml_may_be_bytes_or_null(tmp_path: Path) -> None:
    assert (
        loaded_from(file=yaml_file(tmp_path, "reserve: 1048576")).settings.reserve_bytes == 1024**2
    )
    assert loaded_from(file=yaml_file(tmp_path, "reserve: null")).settings.reserve_bytes is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precison: 512", "line 1: precison: unknown key: did you mean precision?"),
        ("internal: 5", "line 1: internal: unknown key: did you mean health-interval?"),
        ("reserve_bytes: 5", "line 1: reserve_bytes: unknown key: did you mean reserve?"),
        ("qqqq: 1", "line 1: qqqq: unknown key: the keys are precision, health-interval, "),
        ("config: x", "line 1: config: unknown key: "),
        ("<<: {precision: 1024}", "line 1: <<: unknown key: "),
        ("\n\nprecision: lots", "line 3: precision: lots: not a whole number of KB"),
        ("precision: lots", "give 512 or more, e.g. precision: 512"),
        ("precision: true", "line 1: precision: true: not a whole number"),
        ("precision: 0x200", "line 1: precision: 0x200: not a whole number"),
        ("precision:", "line 1: precision: null: has no value: give 512 or more"),
        ("precision: [1]", "must be one value, not a list: write `precision: VALUE`"),
        ("precision: {a: 1}", "must be one value, not a mapping"),
        ("precision: !kb 512", "has the tag !kb: remove the tag"),
        ("precision: !!python/name:os.system x", "remove the tag"),
        ("health-interval: .inf", "not a finite number of seconds"),
        ("log-level: off", "line 1: log-level: off: not a log level"),
        ("precision: 600\nbackend: b\nprecision: 700", "line 3: precision: given twice, first in"),
        ("{precision: 600, precision: 700}", "given twice, first in line 1: remove one"),
        ("host_root: /\nhost-root: /", "line 2: host-root: given twice"),
        ("backend-options: 5", "must be a mapping: write `KEY: VALUE`"),
        ("backend-options: {a: [1]}", "line 1: a: must be one value, not a list"),
        ("backend-options: {a: }", "line 1: a: null: has no value"),
        ("backend-options: {a: 1, a: 2}", "line 1: a: given twice"),
        ("- precision", "line 1: not a mapping: write `key: value` lines"),
        ("just words", "line 1: not a mapping"),
        ("? [a]\n: b", "line 1: a key must be a word"),
        ("precision: 512\nbackend: a: b", "line 2: broken YAML: "),
        ("precision: [", "broken YAML: "),
        ("a: 1\n---\nb: 2", "broken YAML: "),
        ("a: *nowhere", "line 1: broken YAML: found undefined alias"),
        ("precision: 1\n\x07", "line 2: broken YAML: a character that YAML forbids"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    file = yaml_file(tmp_path, text)
    line = refusal(file=file)
    assert line.startswith(str(file))
    assert expected in line


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert refusal(file=missing).startswith(
        f"--config {missing}: can't be read (No such file or directory): give a readable YAML file"
    )


@pytest.mark.timeout(10)
def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        assert refusal(file=path) == (
            f"--config {path}: not a regular file: give a readable YAML file, or leave it out"
        )


def test_a_link_to_a_regular_file_is_one(tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"  # as a ConfigMap is mounted
    link.symlink_to(yaml_file(tmp_path, "precision: 777"))
    assert loaded_from(file=link).settings.precision_kb == 777


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = yaml_file(tmp_path, "")
    monkeypatch.setattr(Path, "open", denied)
    assert "can't be read (Permission denied)" in refusal(file=file)


def test_a_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"precision: 512\nbackend: caf\xe9\n")
    assert "not UTF-8 in line 2: save the file as UTF-8" in refusal(file=file)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    file = yaml_file(tmp_path, "")
    os.truncate(file, 1024**3)
    assert "more than 64 KiB" in refusal(file=file)


def test_the_config_flag_needs_a_file() -> None:
    assert refusal(("config", "")).endswith("give a YAML file, e.g. --config plugin.yaml")


def test_a_file_nested_too_deeply_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compose(*_: object, **__: object) -> None:
        raise RecursionError  # as 1,000 times `- ` do

    monkeypatch.setattr("yaml.compose", compose)
    assert "broken YAML: nested too deeply" in refusal(file=yaml_file(tmp_path, "precision: 512"))


def test_brackets_within_brackets_are_refused_with_their_line(tmp_path: Path) -> None:
    # Without a bound 2,000 of them take PyYAML more than a second.
    told = refusal(file=yaml_file(tmp_path, "precision: 512\nlisten: " + "[" * 50_000))
    assert " line 2: broken YAML: nested too deeply" in told
    assert "must be one value" in refusal(file=yaml_file(tmp_path, "listen: [[[[a]]]]"))


@pytest.mark.parametrize("text", ['backend: "\\UFFFFFFFF"', f"%YAML 1.{'9' * 4400}\n--- a"])
def test_a_number_that_pyyaml_stumbles_over_is_refused(tmp_path: Path, text: str) -> None:
    assert "broken YAML: an escape like \\UFFFFFFFF" in refusal(file=yaml_file(tmp_path, text))


def test_a_truth_that_is_none_is_refused(tmp_path: Path) -> None:
    told = refusal(file=yaml_file(tmp_path, "backend-options:\n  a: !!bool maybe"))
    assert " line 2: a: has the tag tag:yaml.org,2002:bool: remove the tag" in told


def test_yaml_is_imported_only_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "teeplugin.config.yaml_file", raising=False)
    loaded_from(("precision", "600"))


@given(st.binary(max_size=200))
def test_no_file_content_gives_anything_but_settings_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(content)
    try:
        loaded_from(file=file)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most contents raise nothing
