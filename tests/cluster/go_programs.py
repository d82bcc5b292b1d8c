"""Programs that are built once from their Go modules, then taken from the cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.settings import cache_directory
from tests.cluster.versions import MODULE
from tests.system_packages import UnavailableError

_FLAGS = ("-trimpath", "-buildvcs=false")


@dataclass(frozen=True)
class Build:
    """Programs of one version of a Go module, and what they are built by."""

    name: str
    """Their folder in the cache."""

    version: str
    packages: tuple[str, ...]
    go_mod: str
    """The text of the module that requires it; "" is the one in kubernetes/, with its go.sum."""

    linker_flags: str = "-s -w"

    toolchain: str = "auto"
    """Go's own name for the toolchain; `auto` is the machine's, or a newer one that go.mod asks."""

    tags: str = ""

    sums_of: str = ""
    """The module whose go.sum is taken, where Go's sum database lacks what it requires."""

    @property
    def directory(self) -> Path:
        """Where the cache keeps them."""
        key = hashlib.sha256()
        names = (package.rsplit("/", 1)[1] for package in self.packages)
        if self.go_mod:
            parts: Sequence[bytes] = (self.go_mod.encode(), " ".join(names).encode())
        else:
            parts = ((MODULE / "go.mod").read_bytes(), (MODULE / "go.sum").read_bytes())
        for part in parts:
            key.update(part)
        key.update("\0".join((*self.flags, self.linker_flags)).encode())
        return cache_directory() / self.name / f"{self.version}-{key.hexdigest()[:12]}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of `go build`: what isn't pinned by a go.sum is checked by Go's sum database."""
        trim, *rest = _FLAGS
        tags = (f"-tags={self.tags}",) if self.tags else ()
        return (trim, "-mod=mod" if self.go_mod else "-mod=readonly", *tags, *rest)

    def ensure(self) -> Path:
        """Return the directory of the programs, building them first where the cache lacks them."""
        # The directory appears by one rename, after all of them are in it.
        if not self.directory.is_dir():
            ensure_go()
            with _one_build_at_a_time(self.directory.parent):
                if not self.directory.is_dir():
                    self._build()
        return self.directory

    def _build(self) -> None:
        draft = Path(tempfile.mkdtemp(prefix=".build-", dir=self.directory.parent))
        try:
            print(f"building {self.name} {self.version}: once, for minutes", flush=True)
            programs = draft / "programs"
            programs.mkdir()
            variables = {"CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": self.toolchain}
            flags = [*self.flags, f"-ldflags={self.linker_flags}"]
            if self.go_mod:
                (draft / "go.mod").write_text(self.go_mod)
            if self.sums_of:
                module = download(f"{self.sums_of}@{self.version}")
                shutil.copyfile(Path(module["Dir"], "go.sum"), draft / "go.sum")
            built = subprocess.run(
                ["go", "build", *flags, "-o", f"{programs}/", *self.packages],
                cwd=draft if self.go_mod else MODULE,
                # Without cgo they need no C library of this machine, and no C compiler.
                env=os.environ | variables,
                check=False,
            )
            if built.returncode != 0:
                raise UnavailableError(
                    f"go can't build {self.name} {self.version}; it says why above"
                )
            programs.rename(self.directory)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _one_build_at_a_time(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in directory.glob(".build-*"):
            shutil.rmtree(abandoned)
        yield


def download(module: str) -> Mapping[str, str]:
    """Download a module, given as PATH@VERSION, and tell its `Dir` and `GoMod`, as Go does.

    Raises:
        UnavailableError: Go can't.
    """
    found: dict[str, str] = json.loads(go("mod", "download", "-json", module))
    return found


def go(*words: str) -> str:
    """Run a command of Go's that depends on no module here, and return what it prints.

    Raises:
        UnavailableError: it failed.
    """
    environment = os.environ | {"GOTOOLCHAIN": "auto", "GOWORK": "off"}
    result = subprocess.run(
        ["go", *words], capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    if result.returncode != 0:
        raise UnavailableError(f"go {' '.join(words)}: {result.stdout}{result.stderr}".strip())
    return result.stdout


def ensure_go() -> None:
    """Make sure that Go is there; it is needed only until the programs are in the cache."""
    if not shutil.which("go"):
        raise UnavailableError("Go is missing: it builds the programs, once")
