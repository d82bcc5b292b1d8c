"""The hook tee-limit against a mock of the vendor's tool, with containers that are namespaces."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from time import sleep
from typing import Any

from tests.tee.build import HERE, ROOT, make

CALL_MS = 400
HOOK_MS = 1500


@dataclass(frozen=True)
class Container:
    """A process that is the first in a pid namespace, as a container's is."""

    pid: int
    id: str = field(default_factory=lambda: token_hex(32))

    @property
    def namespace(self) -> int:
        return Path(f"/proc/{self.pid}/ns/pid").stat().st_ino

    def state(self, **other: Any) -> str:
        """What a runtime writes to a createRuntime hook's standard input."""
        told = {
            "ociVersion": "1.2.0",
            "id": self.id,
            "status": "creating",
            "pid": self.pid,
            "bundle": f"/run/containerd/io.containerd.runtime.v2.task/k8s.io/{self.id}",
            "annotations": {"io.kubernetes.cri.container-name": 'odd "name" \u00e9 {pid: 1}'},
        }
        return json.dumps(told | other)


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextmanager
def process(*flags: str) -> Iterator[int]:
    """Run a process in namespaces of `unshare`'s flags, and give its pid outside."""
    command = ["unshare", *flags, "--fork", "--kill-child", "sleep", "1000"]
    with subprocess.Popen(command, start_new_session=True) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        found: list[str] = []
        try:
            while not (found := children.read_text().split()):
                assert parent.poll() is None
            yield int(found[0])
        finally:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
            while found and _runs(found[0]):
                sleep(0.001)


@contextmanager
def container() -> Iterator[Container]:
    """Run a container."""
    with process("--pid") as pid:
        yield Container(pid)


class MockTee:
    """The TEE of a mock of the vendor's tool, in a directory that both look into."""

    def __init__(self, directory: Path) -> None:
        self.mock = directory

    def build(self, program: Path, path: Path, directory: Path | None = None) -> None:
        """Build the tool into `program`; it answers only where it is run as `path`.

        There it knows the TEE's directory as `directory`, by default as it is called here.
        """
        subprocess.run(
            [
                *("gcc", "-static", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-o", program),
                *(f'-DMOCK_DIRECTORY="{directory or self.mock}"', f'-DMOCK_PATH="{path}"'),
                HERE / "mock_teleport.c",
            ],
            check=True,
            timeout=60,
        )

    def empty(self) -> None:
        """Begin with a TEE that has no groups, and a tool that does as the vendor's."""
        subprocess.run(["rm", "-rf", self.mock], check=True, timeout=60)
        for name in ("groups", "storage"):
            (self.mock / name).mkdir(parents=True)
        self.behave("")
        self.lose_groups()

    def lose_groups(self) -> None:
        """Have the TEE lose all groups and number them anew, as by a restart."""
        for group in (self.mock / "groups").iterdir():
            group.unlink()
        (self.mock / "next").write_text("5\n")

    def behave(self, how: str) -> None:
        (self.mock / "behaviour").write_text(f"{how}\n")

    @property
    def groups(self) -> Mapping[int, str]:
        """Namespace and amount of each group that the TEE has."""
        found = {}
        for path in (self.mock / "groups").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                found[int(path.name)] = path.read_text().strip()
        return found

    @property
    def calls(self) -> list[str]:
        path = self.mock / "calls"
        return path.read_text().splitlines() if path.exists() else []


class Limits(MockTee):
    """A built hook, its mock and its directories, all below one."""

    def __init__(self, directory: Path, *flags: str, cc: str = "gcc", sanitize: str = "") -> None:
        super().__init__(directory / "mock")
        self.directory = directory
        self.tool = directory / "tee_teleport"
        self.records = directory / "run"
        self.teecd = directory / "teecd.sock"
        self.hook = directory / "tee-limit"
        paths = {
            "TEE_LIMIT_TOOL": self.tool,
            "TEE_LIMIT_DIRECTORY": self.records,
            "TEE_LIMIT_TEECD": self.teecd,
        }
        numbers = {"TEE_LIMIT_CALL_MS": CALL_MS, "TEE_LIMIT_HOOK_MS": HOOK_MS}
        defines = [f"-D{name}='\"{path}\"'" for name, path in paths.items()]
        defines += [f"-D{name}={number}" for name, number in numbers.items()]
        make(
            ROOT / "ca",
            [
                f"OUT={directory}",
                f"OBJ={directory}/obj",
                f"CC={cc}",
                f"SANITIZE={sanitize}",
                f"CFLAGS={' '.join((*defines, *flags))}",
                "hook",
            ],
        )
        self.build(self.tool, self.tool)

    def reset(self) -> None:
        """Begin with an empty TEE, and without records."""
        subprocess.run(["rm", "-rf", self.records], check=True, timeout=60)
        self.empty()
        self.tool.chmod(0o755)
        self.restart_teecd()

    def restart_tee(self) -> None:
        """Have the TEE lose all groups and number them anew, and teecd make its socket anew."""
        self.lose_groups()
        self.restart_teecd()

    def restart_teecd(self) -> None:
        self.teecd.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(self.teecd))

    @property
    def recorded(self) -> Mapping[str, str]:
        """The containers' records, by their ids."""
        files = (self.records / "containers").glob("*")
        return {path.name: path.read_text() for path in files}

    def told(self, name: str) -> Mapping[str, str]:
        """What the hook leaves for the plugin: `summary` or `reconciled`."""
        lines = (self.records / name).read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def run(
        self, *words: str, state: str | bytes = "", seconds: float = 30
    ) -> subprocess.CompletedProcess[str]:
        data = state.encode() if isinstance(state, str) else state
        ended = subprocess.run(
            [self.hook, *words], input=data, capture_output=True, timeout=seconds, check=False
        )
        return subprocess.CompletedProcess(
            ended.args, ended.returncode, ended.stdout.decode(), ended.stderr.decode()
        )

    def set(self, one: Container, kib: int = 5120, *words: str) -> None:
        """Set a container's limit, which must succeed without a word."""
        ended = self.run("set", f"--memory={kib}K", *words, state=one.state())
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

    def clean(self, one: Container) -> None:
        """Call the poststop hook, whose state has no process; it must succeed without a word."""
        ended = self.run("clean", state=one.state(pid=0, status="stopped"))
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

    def refusal(self, one: Container, *words: str, **state: Any) -> str:
        """Try to set a container's limit, which must fail with one line; give that."""
        ended = self.run("set", "--memory=5120K", *words, state=one.state(**state))
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert ended.stderr.startswith("tee-limit: ")
        assert ended.stderr.count("\n") == 1
        return ended.stderr
