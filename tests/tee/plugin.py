"""The plugin as a process on the test libteec, which the test plays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.plugin_process import Plugin
from tests.tee.build import USER, read_log, write_signed, write_state
from tests.tee.teecd import MockTeecd
from tests.waiting import eventually

GIB = 1 << 30
"""What the test libteec has in all unless it is told otherwise."""

# The plugin itself, but for two variables that its helper's fixed environment lets through, and
# for how long a hang may take: real seconds in one test only.
_LAUNCH = """
import errno, os, sys
from teeplugin.cli.main import main
from teeplugin_backends.libteec import backend, node_watch, process, teecd
process._ENVIRONMENT.update((k, v) for k, v in os.environ.items() if k.startswith("TEST_TEE"))
backend.ANSWER_SECONDS = float(os.environ.get("ANSWER_SECONDS", backend.ANSWER_SECONDS))
if os.environ.get("NO_INOTIFY"):
    def changes(paths, held):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    node_watch.changes = changes
teecd.SOCKET = os.environ["TEST_TEE_TEECD"]
sys.exit(main())
"""


class Place(Protocol):
    """Where a kubelet is and where the node's paths are, as the plugin sees them."""

    @property
    def kubelet_dir(self) -> Path: ...

    @property
    def host_root(self) -> Path: ...


@dataclass(frozen=True)
class At:
    """A place that is named by its paths."""

    kubelet_dir: Path
    host_root: Path


class LibteecPlugin(Plugin):
    """The plugin as a process on the test libteec; `library` may be switched while it runs."""

    def __init__(
        self,
        directory: Path,
        place: Place,
        library: Path,
        *,
        options: Sequence[str] = (),
        answer_seconds: str = "",
        no_inotify: str = "",
        enter: Sequence[str] = (),
    ) -> None:
        self.state, self.log = directory / "state", directory / "plugin.log"
        self.tee_log, self.library = directory / "tee.log", directory / "libteec.so"
        ta = directory / "ours.sec"
        write_signed(ta)
        node = place.host_root / "dev" / "tc_private"
        if not node.exists():
            node.parent.mkdir(parents=True, exist_ok=True)
            node.touch()
        self.teecd = MockTeecd(directory / "teecd.sock", node)
        self.use(library)
        self.play()
        environ = {
            "TEST_TEE_STATE": str(self.state),
            "TEST_TEE_LOG": str(self.tee_log),
            "TEST_TEE_TEECD": str(self.teecd.path),
        }
        given = {"ANSWER_SECONDS": answer_seconds, "NO_INOTIFY": no_inotify}
        environ |= {name: value for name, value in given.items() if value}
        pairs = (f"library={self.library}", f"ta-path={ta}", f"user={USER}", *options)
        self.command = [
            *(*enter, "/usr/bin/env", *(f"{name}={value}" for name, value in environ.items())),
            *(sys.executable, "-c", _LAUNCH),
            *(word for pair in pairs for word in ("--backend-option", pair)),
            *("--kubelet-dir", str(place.kubelet_dir), "--host-root", str(place.host_root)),
            *("--listen", "off", "--log-format", "json", "--health-interval", "0.1"),
        ]
        self._process = None

    def start(self) -> None:
        """Start teecd, and then the plugin."""
        if not self.teecd.is_running:
            self.teecd.start()
        super().start()

    def __exit__(self, *reason: object) -> None:
        super().__exit__(*reason)
        self.teecd.kill()

    def play(self, **what: object) -> None:
        """Have the TEE be so, and nothing else, from the next query on; all is free if not said."""
        write_state(self.state, **({"free_bytes": what.get("total_bytes", GIB)} | what))

    def use(self, library: Path) -> None:
        fresh = self.library.with_suffix(".new")
        fresh.symlink_to(library)
        fresh.rename(self.library)

    def calls(self, name: str) -> int:
        return sum(line["call"] == name for line in read_log(self.tee_log, "call"))

    def helpers(self) -> list[int]:
        """The processes whose parent the plugin is."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.pid:
                found.append(int(entry.parent.name))
        return found

    async def no_helper_is_left(self) -> None:
        pids = {int(line["pid"]) for line in read_log(self.tee_log)}
        await eventually(
            "the end of all helpers",
            lambda: [pid for pid in pids if Path(f"/proc/{pid}").exists()],
            until=lambda left: not left,
        )
