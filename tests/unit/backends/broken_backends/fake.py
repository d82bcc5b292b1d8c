"""The TEE that the backends for the kit's tests ask, and one that keeps every promise."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import anyio

from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    Finding,
    Identity,
    Mount,
    OptionError,
    TeeBackend,
    TeeError,
    TeeMemory,
)

MEMORY: Final = TeeMemory(total_bytes=1 << 30, free_bytes=1 << 29)


class FakeTee:
    """The TEE that all backends here ask; one test at a time plays it."""

    def __init__(self) -> None:
        self.fault: type[TeeError] | None = None
        self.answers = threading.Event()
        self.groups: list[subprocess.Popen[bytes]] = []
        """Leaders of process groups, to be killed in the end."""

    def end(self) -> None:
        """Undo what the backends here have left behind."""
        self.play()
        while self.groups:
            process = self.groups.pop()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Run a shell, and wait for a first line from it."""
        words = ["sh", "-c", command]
        shell = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE)
        self.groups.append(shell)
        assert shell.stdout is not None
        with shell.stdout as said:
            said.readline()
        return shell

    def play(self, fault: type[TeeError] | None = None, *, hangs: bool = False) -> None:
        self.fault = fault
        (self.answers.clear if hangs else self.answers.set)()

    async def memory(self) -> TeeMemory:
        if not self.answers.is_set():
            await anyio.sleep_forever()
        return self.memory_now()

    def memory_now(self) -> TeeMemory:
        """Ask so that the asking thread waits."""
        self.answers.wait()
        if self.fault:
            raise self.fault("the fake TEE was told to fail so")
        return MEMORY


tee = FakeTee()


class Right(TeeBackend):
    """Keeps every promise; what others break is each in a method of its own."""

    def __init__(self) -> None:
        self.asked = 0

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        for key, value in options.items():
            if key != "limit":
                raise OptionError(f"{key}={value}: no such option: there is limit")
            if not value.isdigit():
                raise OptionError(f"{key}={value}: must be a whole number: give e.g. 5")
        return cls()

    async def memory(self) -> TeeMemory:
        self.asked += 1
        return await tee.memory()

    def access(self) -> ContainerAccess:
        return ContainerAccess(
            (Mount("/run/tee", "/run/tee"),), (Device("/dev/tee", "/dev/tee"),), {"TEE": "1"}
        )

    def identity(self) -> Identity | None:
        return Identity("/usr/bin/x", "root", "0" * 64)

    def counters(self) -> Mapping[str, int]:
        return {"asked": self.asked}

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        return (Finding.ok("root", f"{host_root}"), Finding.not_applicable("more", "nothing"))

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


class Failing(Right):
    """Has another way to tell of faults."""

    async def memory(self) -> TeeMemory:
        try:
            return await super().memory()
        except TeeError as error:
            return self.tell(error)

    def tell(self, error: TeeError) -> TeeMemory:
        raise NotImplementedError


B = TypeVar("B", bound=type[Right])
BROKEN: list[tuple[type[Right], dict[str, str]]] = []
"""Each with the checks that it fails, and words of what they say."""


def fails(**checks: str) -> Callable[[B], B]:
    def note(backend: B) -> B:
        BROKEN.append((backend, {f"test_{name}": words for name, words in checks.items()}))
        return backend

    return note
