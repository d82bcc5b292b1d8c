"""The lab by hand: `python -m tests.cluster up`, and what its --help lists."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from tests.cluster.lab import Lab
from tests.cluster.settings import HERE
from tests.system_packages import UnavailableError

_FROM_ANYWHERE = f"""\
import sys
sys.path.insert(0, {str(HERE.parents[1])!r})
from tests.cluster.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def main(arguments: Sequence[str]) -> int:
    """Do one command and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the cluster, or what of it does not run")
    commands.add_parser("down", help="end everything the cluster runs, also after a crash")
    commands.add_parser("status", help="tell what runs, and where the files are")
    commands.add_parser("shell-env", help="print shell functions `lab` and `kubectl` to eval")
    for name, text in (("kubectl", "run kubectl"), ("enter", "run a command inside the lab")):
        command = commands.add_parser(name, help=text, prefix_chars="\0", add_help=False)
        command.add_argument("words", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen, Lab())
    except (UnavailableError, AssertionError, RuntimeError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def _run(chosen: argparse.Namespace, lab: Lab) -> int:
    if chosen.command == "up":
        lab.up()
    elif chosen.command == "down":
        lab.down()
    elif chosen.command == "status":
        status = lab.status()
        for name, value in status.items():
            print(f"{name:24} {value}")
        print(f"{'state':24} {lab.settings.state}")
        return 0 if lab.kubelet_pid else 3
    elif chosen.command == "shell-env":
        program = shlex.join([sys.executable, "-c", _FROM_ANYWHERE])
        print(f'lab() {{ {program} enter "$@"; }}')
        print(f'kubectl() {{ {program} kubectl "$@"; }}')
    elif chosen.command == "kubectl":
        _become(lab.kubectl_command(*chosen.words))
    else:
        _become(lab.enter(*(chosen.words or [os.environ.get("SHELL", "/bin/sh")])))
    return 0


def _become(command: list[str]) -> None:
    os.execvp(command[0], command)  # noqa: S606 - the terminal is the command's


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
