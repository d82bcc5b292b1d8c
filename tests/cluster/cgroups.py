"""The lab's control group: it bounds the kubelet's pods and knows every process of the lab.

A process can't leave it by forking or by losing its parent. So what the lab started, or what
tests started in it, is found again even when nobody is left who remembers a pid.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cluster.processes import Process
from tests.cluster.waiting import wait_until
from tests.system_packages import UnavailableError

_KILL_SECONDS = 20
_V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def _hierarchies() -> list[Path]:
    """List where control groups are mounted; the first one is used to track processes.

    A machine has several of version 1 and perhaps an idle one of version 2, or just one of
    version 2.
    """
    table = Path("/proc/self/mounts")
    if not table.exists():  # not Linux
        return []
    mounts = [line.split()[1:4] for line in table.read_text().splitlines()]
    v1 = [(target, options.split(",")) for target, kind, options in mounts if kind == "cgroup"]
    v2 = [target for target, kind, _ in mounts if kind == "cgroup2"]
    v1.sort(key=lambda mount: "pids" not in mount[1])
    return [Path(target) for target in (*(target for target, _ in v1), *v2)]


class ControlGroup:
    """One control group of this name below the root of every hierarchy."""

    def __init__(self, name: str) -> None:
        self.name = name
        hierarchies = _hierarchies()
        if not hierarchies:
            raise UnavailableError("no cgroup file system is mounted; the kubelet needs one")
        self._roots = [hierarchy / name for hierarchy in hierarchies]
        self._tracker = self._roots[0]

    @property
    def entrance(self) -> Path:
        """The file to write a pid to, for a process that belongs to the lab but to no pod."""
        return self._tracker / "processes" / "cgroup.procs"

    def create(self) -> None:
        """Make the group; harmless where it exists."""
        for root in self._roots:
            root.mkdir(exist_ok=True)
            _inherit_cpuset(root)
            _pass_controllers_down(root)
        self.entrance.parent.mkdir(exist_ok=True)

    def processes(self) -> list[Process]:
        """List all processes in the group and in the groups below it."""
        found = (Process.running(pid) for pid in self._pids())
        return [process for process in found if process is not None]

    def kill(self) -> None:
        """End every process in the group at once, and wait until they are gone."""

        def remaining() -> list[str]:
            processes = self.processes()
            for process in processes:
                # A pid read above may have become another's by now.
                if self._holds(process):
                    process.send(signal.SIGKILL)
            return [f"{process.pid} {_name(process)}" for process in processes]

        wait_until(
            f"processes of the control group {self.name} are gone",
            remaining,
            _KILL_SECONDS,
            accept=lambda left: not left,
        )

    def remove(self) -> None:
        """Remove the group from every hierarchy; it must be without processes."""
        wait_until(
            f"control group {self.name} is removed",
            lambda: [str(root) for root in self._roots if not _remove_tree(root)],
            _KILL_SECONDS,
            accept=lambda left: not left,
        )

    def exists(self) -> bool:
        """Tell whether anything is left of the group."""
        return any(root.exists() for root in self._roots)

    def _pids(self) -> list[int]:
        pids: list[int] = []
        for directory, _, _ in os.walk(self._tracker):
            try:
                pids += map(int, (Path(directory) / "cgroup.procs").read_text().split())
            except OSError:  # the group went away, or is a threaded one that has no such list
                continue
        return pids

    def _holds(self, process: Process) -> bool:
        try:
            lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        paths = [Path(line.split(":", 2)[2]) for line in lines]
        return process.alive() and any(path.is_relative_to(f"/{self.name}") for path in paths)


def _name(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/comm").read_text().strip()
    except OSError:
        return "(gone)"


def _inherit_cpuset(root: Path) -> None:
    """Version 1: copy the parent's processors and memory nodes; no process may enter without."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (root.parent / name).exists():
            (root / name).write_text((root.parent / name).read_text())


def _pass_controllers_down(root: Path) -> None:
    """Version 2: let the kubelet set limits below the group, as far as this machine allows."""
    for group in (root.parent, root):
        offers = group / "cgroup.controllers"
        offered = offers.read_text().split() if offers.exists() else []
        for controller in _V2_CONTROLLERS:
            if controller in offered:
                with contextlib.suppress(OSError):
                    (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_tree(root: Path) -> bool:
    """Remove the directories bottom-up, and tell whether all are gone; their files go along."""
    for directory, _, _ in os.walk(root, topdown=False):
        try:
            Path(directory).rmdir()
        except FileNotFoundError:
            continue
        except OSError:  # busy for a moment after its last process
            return False
    return True
