"""A mock teecd: a process that holds a device node, and serves one connection at a time.

Run as a script, so that its start costs little: teecd.py SOCKET NODE MAJOR.
"""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

_IDLE_SECONDS = 3.0
"""How long the real one waits for a client that says nothing."""

MAJOR = 2
"""The version that fits the test libteec."""


class MockTeecd:
    """A mock teecd at `path`, not yet started; it holds `node` open for writing while it runs."""

    def __init__(self, path: Path, node: Path | None = None, major: int = MAJOR) -> None:
        self.path, self._node, self._major = path, node, major
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.path.unlink(missing_ok=True)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        words = [str(self.path), str(self._node or os.devnull), str(self._major)]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"listening\n"

    @property
    def is_running(self) -> bool:
        """Whether it was started and not killed."""
        return self._process is not None

    def kill(self) -> None:
        """End it with SIGKILL, which leaves its socket where it is."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    @contextlib.contextmanager
    def kept_busy(self, clients: int = 4) -> Iterator[None]:
        """Connect and say nothing, as a pod may do."""
        with contextlib.ExitStack() as stack:
            for _ in range(clients):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(self.path))
            yield

    def connections(self) -> int:
        """Count those that it has accepted; each costs the real one a line in its log."""
        log = self.path.with_suffix(".log")
        return log.read_text().count("\n") if log.exists() else 0


def _serve(path: str, node: str, major: int) -> None:
    os.open(node, os.O_RDWR)  # held until the end
    Path(path).unlink(missing_ok=True)
    log = os.open(f"{path.removesuffix('.sock')}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(5)
        os.write(1, b"listening\n")
        while True:
            client, _ = listener.accept()
            os.write(log, b"connection\n")
            with client, contextlib.suppress(OSError):
                client.settimeout(_IDLE_SECONDS)
                if client.recv(1):
                    client.sendall(bytes([major]))


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
