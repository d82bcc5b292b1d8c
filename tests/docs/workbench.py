"""Where the guide's commands are typed: a checkout on a node of its own; for test_blocks.

The checkout is a copy with an environment and pkg/ in it, so that `make` has nothing to install.
Commands find the plugin by its path only: it is not on PATH. Nothing of what a command writes is
seen outside.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from teeplugin.cli.console import PROGRAM
from tests.docs.pages import ROOT, Block

_BLOCK_SECONDS = 40
_ENDED_WELL = ("event=stopped", "ended by SIGINT")
_PORT_OF_ITS_OWN = "127.0.0.1:9841"
"""In the guide's commands; here it is a port that is free."""

_NODE = Path(__file__).with_name("node.py")

_CURL = """\
#!/bin/sh
# Stands in for curl, which a machine may lack, and asks the plugin of this test.
# Through sh, since no line that begins with #! can name an interpreter with a space in its path.
'''exec' {python} "$0" "$@"
'''
import sys, urllib.error, urllib.request
url = sys.argv[-1].replace("127.0.0.1:9840", "{address}")
try:
    answer = urllib.request.urlopen(url, timeout=10)
except urllib.error.HTTPError as error:
    answer = error
sys.stdout.write(answer.read().decode())
"""

_NOT_HERE = ("kubectl", "docker", "buildah", "podman", "systemctl", "yum", "dnf", "apt-get")
"""Programs that would reach a cluster, a registry or this machine itself."""

_REFUSAL = """\
#!/bin/sh
echo "$(basename "$0") isn't run by this test: mark the block" >&2
exit 1
"""

_PATH = "/usr/local/bin:/usr/bin:/bin"
_INSTALLED = "/vendor/bin/"
"""Where a node has the plugin; here it is a folder of the test."""

_SOURCES = ("Makefile", "pyproject.toml", "README.md", "LICENSE", "ca", "ta", "deploy", "examples")
# What was built stays behind, and so does a developer's key.
_LEFT = ("*.so", "*.sec", "tlogcat", "tee-device-plugin", "__pycache__", "TA_cert", "signed_config")


class Workbench:
    """A directory with all that the commands need; `address` is where the node's plugin answers."""

    def __init__(self, directory: Path, kubelet_dir: Path, address: str) -> None:
        self.folder = directory / "checkout"
        self._beside: list[subprocess.Popen[str]] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._own = f"127.0.0.1:{free.getsockname()[1]}"
        self._installed = directory / "vendor"
        self._copy_sources()
        self._put_programs(directory / "bin", address)
        self._put_built()
        home = directory / "home"
        home.mkdir()
        self._environment = {
            "PATH": f"{directory / 'bin'}:{_PATH}",
            "HOME": str(home),
            "TMPDIR": tempfile.gettempdir(),
        }
        self._on_the_node = self._environment | {
            "TEEPLUGIN_KUBELET_DIR": str(kubelet_dir),
            "TEEPLUGIN_LISTEN": address,
        }

    def _copy_sources(self) -> None:
        self.folder.mkdir()
        for name in _SOURCES:
            source = ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns(*_LEFT)
                shutil.copytree(source, self.folder / name, symlinks=True, ignore=ignored)
            else:
                shutil.copy(source, self.folder)

    def _put_programs(self, programs: Path, address: str) -> None:
        own = Path(sysconfig.get_path("scripts"), PROGRAM)
        environment = self.folder / ".venv" / "bin"
        programs.mkdir()
        for folder in (self._installed, environment, self.folder / "pkg"):
            folder.mkdir(parents=True)
            (folder / PROGRAM).symlink_to(own)
        (environment / "python").symlink_to(sys.executable)
        scripts = {
            programs / "curl": _CURL.format(python=shlex.quote(sys.executable), address=address),
        } | {programs / name: _REFUSAL for name in _NOT_HERE}
        for path, script in scripts.items():
            path.write_text(script)
            path.chmod(0o755)
        # What tells make that the plugin is installed.
        (environment.parent / "plugin").touch()

    def _put_built(self) -> None:
        """Write what make leaves in pkg/ beside the program."""
        for name in ("libteememca.so", "e3d37f4a-f24c-48d0-8884-3bdd6c44e988.sec"):
            (self.folder / "pkg" / name).write_bytes(b"as far as the test knows")

    def _typed(self, block: Block) -> str:
        body = block.body.replace(_PORT_OF_ITS_OWN, self._own)
        if block.on_a_node:
            body = body.replace(_INSTALLED, f"{shlex.quote(str(self._installed))}/")
        return body

    def _environment_of(self, block: Block) -> dict[str, str]:
        return self._on_the_node if block.on_a_node else self._environment

    def run(self, block: Block) -> str:
        """Type a block, and return what it printed."""
        result = subprocess.run(
            ["sh", "-eu", "-c", self._typed(block)],
            cwd=self.folder,
            env=self._environment_of(block),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BLOCK_SECONDS,
            check=False,
        )
        assert result.returncode == 0, f"{block.name}:\n{block.body}\n{result.stdout}"
        return result.stdout

    def begin(self, block: Block) -> None:
        """Type a block that goes on, and wait until what follows may rely on it."""
        awaited = "telemetry_listening" if "--listen" in block.body else "registered"
        process = subprocess.Popen(
            ["sh", "-eu", "-c", self._typed(block)],
            cwd=self.folder,
            env=self._environment_of(block),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._beside.append(process)
        assert process.stdout is not None
        printed = []
        for line in process.stdout:
            printed.append(line)
            if awaited in line:
                return
        raise AssertionError(
            f"{block.name}: it ended before it told {awaited}:\n{''.join(printed)}"
        )

    def end(self) -> None:
        """End what still runs, as Ctrl-C would; the plugin in it must end well."""
        for process in self._beside:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            printed, _ = process.communicate(timeout=10)
            assert any(words in printed for words in _ENDED_WELL), printed
        self._beside.clear()


@contextmanager
def workbench(directory: Path) -> Iterator[Workbench]:
    """Set one up in an empty directory, with its node; all of it ends with the context."""
    # A unix socket's path may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="tee-") as short:
        kubelet_dir = Path(short)
        node = subprocess.Popen(
            [sys.executable, str(_NODE), short],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            assert node.stdout is not None
            address = node.stdout.readline().strip()
            assert address, "the node did not come up"
            bench = Workbench(directory, kubelet_dir, address)
            try:
                yield bench
            finally:
                bench.end()
        finally:
            os.killpg(node.pid, signal.SIGTERM)
            node.communicate(timeout=10)
