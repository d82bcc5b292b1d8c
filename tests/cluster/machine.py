"""The lab's namespaces as if they were a machine: made, entered, programs run in them, ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.cgroups import ControlGroup
from tests.cluster.processes import Process
from tests.cluster.settings import (
    API_SERVICE_ADDRESS,
    BRIDGE,
    HERE,
    NODE_ADDRESS_WITH_PREFIX,
    Settings,
)
from tests.cluster.waiting import tail, wait_until

_HOLDER = "holder"
_STARTING = ".starting"
_COMMAND_SECONDS = 60

# $1 is the control group's door, $2 the directory to work in.  Each step replaces the one
# before it, so the program has the pid of the process that was started, and gets its signals.
_ENTER = 'echo $$ > "$1" && cd "$2" && shift 2 && exec "$@"'

# Start a program that outlives us: say its pid, then let go of our pipe.  $1 is its log.
_DETACH = 'echo $$; log=$1; shift; exec "$@" < /dev/null >> "$log" 2>&1'


class Machine:
    """A network and a mount namespace, and a control group of all that runs in them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.group = ControlGroup(settings.cgroup_name)

    def exists(self) -> bool:
        """Tell whether the namespaces are there and complete, and all in them is known."""
        unfinished = any(self.settings.run.glob(f"*{_STARTING}"))
        return self.process(_HOLDER) is not None and not unfinished

    def create(self) -> None:
        """Make the namespaces and hold them; only where nothing is left of earlier ones."""
        settings = self.settings
        self.group.create()
        for path in (settings.run, settings.logs, settings.kubelet):
            path.mkdir(exist_ok=True)
        unshare = ["unshare", "--net", "--mount", "--propagation=private", "--"]
        holder = self._detach(_HOLDER, [*unshare, *self._join("/"), "sleep", "infinity"])
        own = Path("/proc/self/ns/net").readlink()
        wait_until(
            "the namespaces are made",
            lambda: (
                Path(f"/proc/{holder.pid}/ns/net").readlink() != own
                and holder.pid in [process.pid for process in self.group.processes()]
            ),
            _COMMAND_SECONDS,
            explain=lambda: tail(self.log(_HOLDER)),
        )
        addresses = (NODE_ADDRESS_WITH_PREFIX, API_SERVICE_ADDRESS)
        furnish = [HERE / "namespaces.sh", settings.state, BRIDGE, *addresses]
        with self.log(_HOLDER).open("a") as log:
            result = subprocess.run(
                [*self._enter(holder), "sh", *map(str, furnish)],
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        if result.returncode != 0:
            raise RuntimeError(f"can't furnish the namespaces\n{tail(self.log(_HOLDER))}")
        # Recorded last: what is not complete does not exist, and is cleared away.
        holder.record(self._record(_HOLDER))

    def destroy(self) -> None:
        """End everything that runs in the lab; its mounts and its network go with it."""
        self.group.kill()
        self.group.remove()

    def enter(self, *command: str) -> list[str]:
        """Give the argument list that runs a command inside, in the present directory.

        The process started with it is the command itself, not a parent of it.
        """
        holder = self.process(_HOLDER)
        if holder is None:
            raise RuntimeError("the lab is not up")
        return [*self._enter(holder), *command]

    def start(self, name: str, command: Sequence[str]) -> Process:
        """Run a program inside until it is stopped, under a name; it outlives this process."""
        # If we are killed before the process is recorded, this tells that there may be one.
        starting = self.settings.run / f"{name}{_STARTING}"
        starting.touch()
        process = self._detach(name, self.enter(*command))
        process.record(self._record(name))
        starting.unlink()
        return process

    def process(self, name: str) -> Process | None:
        """Find the running process of this name."""
        return Process.recorded(self._record(name))

    def started(self, name: str) -> datetime:
        """When the program of this name was started, the last time that it was."""
        return datetime.fromtimestamp(self._record(name).stat().st_mtime, UTC)

    def stop(self, name: str, number: signal.Signals, deadline_seconds: float) -> None:
        """Send a signal to the process of this name and wait for its end."""
        process = self.process(name)
        if process is None:
            return
        process.send(number)
        wait_until(
            f"{name} ({process.pid}) ends after {number.name}",
            lambda: not process.alive(),
            deadline_seconds,
            explain=lambda: tail(self.log(name)),
        )

    def kill_all_but(self, *names: str) -> None:
        """End everything that runs inside but the programs of these names, at once."""
        spared = {_HOLDER, *names}
        kept = {process.pid for process in map(self.process, spared) if process}
        wait_until(
            f"all but {', '.join(sorted(spared))} end",
            lambda: [self._kill(one) for one in self.group.processes() if one.pid not in kept],
            _COMMAND_SECONDS,
            accept=lambda killed: not killed,
        )

    @staticmethod
    def _kill(process: Process) -> int:
        process.send(signal.SIGKILL)
        return process.pid

    def log(self, name: str) -> Path:
        """Name the file that has what the program of this name printed."""
        return self.settings.logs / f"{name}.log"

    def _record(self, name: str) -> Path:
        return self.settings.run / f"{name}.process"

    def _join(self, directory: str) -> list[str]:
        return ["sh", "-c", _ENTER, "enter", str(self.group.entrance), directory]

    def _enter(self, holder: Process) -> list[str]:
        spaces = Path(f"/proc/{holder.pid}/ns")
        nsenter = ["nsenter", f"--net={spaces / 'net'}", f"--mount={spaces / 'mnt'}", "--"]
        return [*nsenter, *self._join(str(Path.cwd()))]

    def _detach(self, name: str, command: Sequence[str]) -> Process:
        """Start a program that is nobody's child, so that nobody need collect its end."""
        started = subprocess.run(
            ["setsid", "--fork", "sh", "-c", _DETACH, "detach", str(self.log(name)), *command],
            env=os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"},
            stdout=subprocess.PIPE,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
        process = Process.running(int(started.stdout))
        if process is None:
            raise RuntimeError(f"{name} ended as soon as it started\n{tail(self.log(name))}")
        return process
