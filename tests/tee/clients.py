"""A native client of libteememca under a chosen identity, run as a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.tee.build import CA_PATH, SAMPLE_UUID, Built, read_log, write_signed, write_state

_SECONDS = 20


@dataclass(frozen=True)
class Client:
    """What it takes to run the driver; the files stand in one directory."""

    built: Built
    directory: Path
    argv0: str = CA_PATH
    library_directory: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    """A program that runs it, such as valgrind or qemu; it must keep argv0."""
    user: int | None = None

    @classmethod
    def prepare(cls, built: Built, directory: Path) -> Client:
        write_signed(directory / f"{SAMPLE_UUID}.sec")
        return cls(built, directory)

    @property
    def ta_path(self) -> Path:
        return self.directory / f"{SAMPLE_UUID}.sec"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def with_(self, **changes: object) -> Client:
        return replace(self, **changes)  # type: ignore[arg-type]

    def tell(self, **keys: object) -> None:
        """Tell the test library what to be."""
        write_state(self.directory / "state", **keys)

    def calls(self) -> list[str]:
        return [line["call"] for line in read_log(self.log, "call")]

    def refusals(self) -> list[str]:
        return [line["why"] for line in read_log(self.log, "refused")]

    def start(self, program: Path, *arguments: str) -> subprocess.Popen[str]:
        libraries = self.library_directory or self.built.itrustee.parent
        environment = {
            "PATH": os.environ["PATH"],
            "LD_LIBRARY_PATH": str(libraries),
            "TEST_TEE_STATE": str(self.directory / "state"),
            "TEST_TEE_LOG": str(self.log),
            "TEEMEMCA_TA_PATH": str(self.ta_path),
        }
        command: Sequence[str] = [self.argv0, *arguments]
        executable = str(program)
        if self.wrapper:
            command, executable = [*self.wrapper, str(program), *arguments], self.wrapper[0]
        return subprocess.Popen(
            command,
            executable=executable,
            env={name: value for name, value in (environment | self.environment).items() if value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.user,
        )

    def run(
        self, program: Path, *arguments: str, seconds: float = _SECONDS
    ) -> subprocess.CompletedProcess[str]:
        with self.start(program, *arguments) as process:
            try:
                out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def figures(self, threads: int = 1, rounds: int = 1) -> list[tuple[int, int, int]]:
        """Ask libteememca: free and capacity in KB and how often they differed, for each thread."""
        result = self.run(self.built.driver, str(self.built.libteememca), str(threads), str(rounds))
        assert result.returncode == 0, result.stderr
        assert result.stderr == ""
        lines = [tuple(map(int, line.split())) for line in result.stdout.splitlines()]
        return [(free, capacity, differing) for free, capacity, differing in lines]

    def answer(self) -> tuple[int, int]:
        """Ask once: free and capacity in KB."""
        ((free, capacity, _),) = self.figures()
        return free, capacity
