"""`size` and `pod` in a pipe: a description from standard input, and a manifest in UTF-8."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.plugin_process import plain_environment

DATA = Path(__file__).parent / "sizing"


def run(
    *words: str | Path, given: bytes = b"", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "teeplugin", *map(str, words)],
        input=given,
        env=plain_environment() | (environment or {}),
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_a_dash_is_standard_input(tmp_path: Path) -> None:
    # At a path that is printed as it is, wherever the checkout may be.
    file = tmp_path / "full.xml"
    content = (DATA / "full.xml").read_bytes()
    file.write_bytes(content)
    from_file = run("size", file).stdout.replace(os.fsencode(file), b"-")
    assert run("size", "-", given=content).stdout == from_file
    pod = run("pod", "--image", "ca:1", "-", given=content)
    assert yaml.safe_load(pod.stdout)["metadata"]["name"] == "payments"


def test_what_is_wrong_in_standard_input_is_one_line() -> None:
    ended = run("size", "-", given=b"<a/>")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"tee-device-plugin: - line 1: the outermost tag is a: ")


def test_standard_input_is_read_once() -> None:
    ended = run("size", "-", "-", given=(DATA / "full.xml").read_bytes())
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"tee-device-plugin: -: standard input can be read once: ")


def test_a_closed_standard_input_is_one_line() -> None:
    command = 'exec "$0" -m teeplugin size - <&-'
    ended = subprocess.run(
        ["sh", "-c", command, sys.executable],
        env=plain_environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        b"tee-device-plugin: -: can't be read (standard input is closed): give a readable file\n"
    )


def test_a_manifest_is_utf_8_whatever_the_locale_is() -> None:
    words = ("pod", "--image", "ca:1", "--command", "/vendor/caf\u00e9", DATA / "full.xml")
    for encoding in ("utf-8", "latin-1", "gbk", "ascii"):
        ended = run(*words, environment={"PYTHONIOENCODING": encoding})
        assert ended.returncode == 0
        (container,) = yaml.safe_load(ended.stdout.decode("utf-8"))["spec"]["containers"]
        assert container["command"] == ["/vendor/caf\u00e9"]
