"""A node with systemd as its first process, and processes in it that are containers."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.waiting import wait_until
from tests.needs import need, unavailable
from tests.tee.limits import Container

HIERARCHIES = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
"""Where cgroup v2 is, alone or beside v1. systemd starts also without a controller there."""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
"""The node's own: the checkout and its programs may be where the node has nothing."""

_SECONDS = 30


@dataclass(frozen=True)
class NodeContainer(Container):
    """A container of the node: `pid` is what the node calls it, `outside` what we do."""

    outside: int = 0

    @property
    def namespace(self) -> int:
        """The inode of its pid namespace."""
        return Path(f"/proc/{self.outside}/ns/pid").stat().st_ino


class SystemdNode:
    """A booted node; `shared` is a directory that it sees as /run/shared."""

    def __init__(self, pid: int, shared: Path) -> None:
        self.pid = pid
        self.shared = shared
        self.root = Path(f"/proc/{pid}/root")

    def enter(self, *command: str | Path) -> list[str]:
        """Give the argument list that runs a command on the node."""
        spaces = ("--mount", "--pid", "--ipc", "--uts", "--net", "--cgroup", "--root", "--wd=/")
        return ["nsenter", f"--target={self.pid}", *spaces, "--", *map(str, command)]

    def run(self, *command: str | Path, data: str = "", check: bool = True) -> str:
        """Run a command on the node; what it printed."""
        ran = subprocess.run(
            self.enter(*command),
            cwd="/",
            env=ENVIRONMENT,
            input=data,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert not check or ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def shown(self, unit: str, name: str) -> str:
        """Read a property of a unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    @contextmanager
    def container(self) -> Iterator[NodeContainer]:
        """Run a process that is the first in a pid namespace; its pid is the node's."""
        command = self.enter("unshare", "--pid", "--fork", "--kill-child", "sleep", "1000")
        with subprocess.Popen(command, cwd="/", env=ENVIRONMENT) as parent:
            try:
                outside = wait_until("the container", lambda: _sleeper(parent.pid), _SECONDS)
                assert outside is not None
                status = Path(f"/proc/{outside}/status").read_text()
                (numbers,) = (line for line in status.splitlines() if line.startswith("NSpid:"))
                yield NodeContainer(int(numbers.split()[-2]), outside=outside)
            finally:
                for pid in _below(parent.pid):
                    # An inner one's end ends the others, too.
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """A process and those below it, the innermost first: nsenter and unshare each have a child."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*(inner for child in children for inner in _below(int(child))), pid]


def _sleeper(pid: int) -> int | None:
    """The innermost process below this one, once it is what it is to be."""
    innermost = _below(pid)[0]
    named = Path(f"/proc/{innermost}/comm").read_text().strip() == "sleep"
    return innermost if named else None


@contextmanager
def systemd_node(scratch: Path) -> Iterator[SystemdNode]:
    """Boot a node; all of it is gone in the end."""
    need("systemd")
    found = [path for path in HIERARCHIES if (path / "cgroup.controllers").exists()]
    if os.geteuid() != 0 or not found:
        unavailable("a node with systemd needs root and cgroup v2")
    shared, own = scratch / "shared", scratch / "own"
    for directory in (shared, own):
        directory.mkdir()
    group = found[0] / f"teeplugin-{os.getpid()}"
    with ExitStack() as cleanup:
        group.mkdir()
        cleanup.callback(_remove, group)
        script = Path(__file__).with_suffix(".sh")
        spaces = ("--pid", "--mount", "--ipc", "--uts", "--net", "--propagation=private")
        with (scratch / "boot.log").open("wb") as log:
            parent = subprocess.Popen(
                ["unshare", *spaces, "--fork", "--kill-child", "sh", script, own, group, shared],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        cleanup.callback(parent.wait)
        cleanup.callback(parent.kill)
        pid = wait_until("systemd begins", lambda: _first_of(parent), _SECONDS)
        assert pid is not None
        node = SystemdNode(pid, shared)
        wait_until("systemd runs", lambda: _is_up(node), _SECONDS)
        yield node


def _first_of(parent: subprocess.Popen[bytes]) -> int | None:
    assert parent.poll() is None, "the node didn't boot"
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    is_systemd = children and Path(f"/proc/{children[0]}/comm").read_text().strip() == "systemd"
    return int(children[0]) if is_systemd else None


def _is_up(node: SystemdNode) -> bool:
    said = node.run("systemctl", "is-system-running", check=False).strip()
    return said in ("running", "degraded")


def _remove(group: Path) -> None:
    """Remove a control group and those in it, once the kernel has ended their processes."""

    def removed() -> bool:
        for path in sorted((p for p in group.rglob("*") if p.is_dir()), reverse=True):
            path.rmdir()
        group.rmdir()
        return True

    def tried() -> bool:
        try:
            return removed()
        except OSError:
            return False

    wait_until("the control group is empty", tried, _SECONDS)
