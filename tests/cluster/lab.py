"""The lab: a real one-node Kubernetes cluster, brought up, taken down, and asked by tests."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from tests.cluster import binaries, configuration, images, requirements, runtimes, state
from tests.cluster.client import Client
from tests.cluster.machine import Machine
from tests.cluster.pods import condition
from tests.cluster.runtimes import Runtime
from tests.cluster.settings import NODE_NAME, Settings
from tests.cluster.waiting import tail, wait_until

_START_SECONDS = 60
_STOP_SECONDS = 20
_COMMAND_SECONDS = 60
_API_SERVER = "kube-apiserver"
_CONTROL_PLANE = ("etcd", _API_SERVER)
_CONTROLLERS = ("kube-scheduler", "kube-controller-manager")
_NAMESPACES = ("default", "kube-system")
_KUBELET = "kubelet"


class Lab(Client):
    """One cluster on this machine; every `Lab` with the same settings is the same cluster."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.from_environment()
        self._machine = Machine(self.settings)
        self._claim: TextIO | None = None

    # --- life

    def prepare(self) -> None:
        """Install and build what is missing; the first time this takes minutes.

        Raises UnavailableError, with a reason of one line, where this machine can't have a lab.
        """
        requirements.ensure(self.settings.versions)
        programs = binaries.ensure(self.settings.versions)
        self._images = images.ensure()
        commands = configuration.commands(self.settings, programs)
        self._commands = {**commands, self.runtime.process: self.runtime.command()}

    def up(self) -> None:
        """Start what does not run, and wait until the node takes pods.

        What an earlier lab left unfinished or half dead is cleared away first.
        """
        self.prepare()
        self._own()
        if not self._machine.exists() or self._has_other_versions():
            self._clear()
            shutil.rmtree(self.settings.logs, ignore_errors=True)
            self._machine.create()
        if not self.settings.kubeconfig.exists():
            configuration.write(self.settings)
            self.runtime.configure()
        self._ensure(self.runtime.process)
        for name in _CONTROL_PLANE:
            self._ensure(name)
        self._import_images()
        self.control_plane_start()
        self.kubelet_start()
        self._wait("the node takes pods", self._takes_pods, *_CONTROLLERS, _KUBELET)
        self._wait("pods have an account", self._has_account, *_CONTROLLERS)

    def down(self) -> None:
        """End all that runs in the lab and remove what it left, but for the logs."""
        if self.settings.state.exists():
            self._own()
        self._clear()
        self.release()

    def release(self) -> None:
        """Let another process use the lab; it goes on running."""
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def status(self) -> dict[str, str]:
        """Tell of each program whether it runs."""
        names = ("holder", self.runtime.process, *_CONTROL_PLANE, *_CONTROLLERS, _KUBELET)
        found = {name: self._machine.process(name) for name in names}
        return {name: f"pid {p.pid}" if p else "not running" for name, p in found.items()}

    # --- inside and outside

    def enter(self, *command: str) -> list[str]:
        """Give the argument list that runs a command inside the lab, as the same process.

        Whatever is started with it is ended by `down`, also after its parent's death.
        """
        return self._machine.enter(*command)

    @property
    def kubelet_dir(self) -> Path:
        """The kubelet's directory as seen from outside; inside it is /var/lib/kubelet."""
        return self.settings.kubelet

    @property
    def device_plugins_dir(self) -> Path:
        """Where kubelet.sock and the plugins' sockets are, as seen from outside."""
        return self.kubelet_dir / "device-plugins"

    def log(self, name: str) -> Path:
        """Name the log of one of the lab's programs."""
        return self._machine.log(name)

    def kubectl_command(self, *arguments: str) -> list[str]:
        """Give the argument list that runs kubectl on this cluster."""
        files = [
            f"--kubeconfig={self.settings.kubeconfig}",
            f"--cache-dir={self.settings.run / 'kubectl'}",
        ]
        kubectl = binaries.ensure(self.settings.versions)["kubectl"]
        return self.enter(kubectl, *files, *arguments)

    @functools.cached_property
    def runtime(self) -> Runtime:
        """The lab's container runtime; its programs are built first where the cache lacks them."""
        return runtimes.of(self.settings)

    def images_offered(self) -> set[str]:
        """Name the images that the kubelet can use."""
        result = self._run(self.runtime.listing())
        return self.runtime.offered(result.stdout) if result.returncode == 0 else set()

    # --- the kubelet

    @property
    def kubelet_pid(self) -> int | None:
        """The kubelet's pid, or None while it is stopped."""
        process = self._machine.process(_KUBELET)
        return process.pid if process else None

    def kubelet_start(self, *, wait: bool = True) -> None:
        """Start the kubelet unless it runs; wait until it serves as it did before.

        That is: healthy, taking registrations, its node reported ready, and its pods known to
        it again. Without `wait` it has only been started.
        """
        self._ensure(_KUBELET)
        if not wait:
            return
        began = self._machine.started(_KUBELET).replace(microsecond=0)
        registration = self.device_plugins_dir / "kubelet.sock"
        self._wait("the kubelet is healthy", self._kubelet_healthy, _KUBELET)
        self._wait("the kubelet takes registrations", lambda: _accepts(registration), _KUBELET)
        self._wait(
            "the kubelet reports its node ready",
            lambda: self._reported_ready_since(began),
            _KUBELET,
        )
        self._wait("the kubelet knows its pods", self._knows_pods, _KUBELET)

    def kubelet_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop the kubelet with a signal; pods go on running."""
        self._machine.stop(_KUBELET, number, _STOP_SECONDS)

    def kubelet_kill(self) -> None:
        """Stop the kubelet as a crash would."""
        self.kubelet_stop(signal.SIGKILL)

    @contextmanager
    def kubelet_elsewhere(self) -> Iterator[Path]:
        """Have a kubelet with another --root-dir, the same inside and outside, for a while.

        No pods may run then: neither kubelet knows the other's.
        """
        root, command = self.settings.run / "kubelet-elsewhere", self._commands[_KUBELET]
        given = [f"--root-dir={root}" if "--root-dir=" in word else word for word in command]
        self.kubelet_stop()
        try:
            self._commands = {**self._commands, _KUBELET: given}
            self.kubelet_start()
            yield root
        finally:
            self.kubelet_stop()
            self._commands = {**self._commands, _KUBELET: command}
            self.kubelet_start()

    def crash_node(self) -> None:
        """End the node as a power cut does: kubelet, runtime, containers, plugins; pods stay."""
        for name in (_KUBELET, self.runtime.process):
            self._machine.stop(name, signal.SIGKILL, _STOP_SECONDS)
        self._machine.kill_all_but(*_CONTROL_PLANE, *_CONTROLLERS)

    def control_plane_stop(self) -> None:
        """End the API server as a crash does, and what is of no use without it.

        Those would come back minutes later than the API server, with a back-off of their own.
        """
        for name in (_API_SERVER, *_CONTROLLERS):
            self._machine.stop(name, signal.SIGKILL, _STOP_SECONDS)

    def control_plane_start(self) -> None:
        """Start what doesn't run of the control plane, and wait until the API server is ready."""
        for name in _CONTROL_PLANE:
            self._ensure(name)
        self._wait(
            "the API server is ready",
            lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok",
            *_CONTROL_PLANE,
        )
        for name in _CONTROLLERS:
            self._ensure(name)

    def runtime_start(self) -> None:
        """Start the runtime unless it runs, and wait until it answers."""
        self._ensure(self.runtime.process)
        self._wait(
            "the container runtime answers",
            lambda: self._run(self.runtime.asking()).returncode == 0,
            self.runtime.process,
        )

    # --- how

    def _own(self) -> None:
        if self._claim is None:
            self._claim = state.claim(self.settings)

    def _has_other_versions(self) -> bool:
        record = self.settings.versions_record
        return record.exists() and record.read_text() != str(self.settings.versions)

    def _clear(self) -> None:
        self._machine.destroy()
        state.empty(self.settings)

    def _ensure(self, name: str) -> None:
        if self._machine.process(name) is None:
            self._machine.start(name, self._commands[name])

    def _wait(self, describe: str, observe: Callable[[], bool], *names: str) -> None:
        """Wait for something these programs bring about; give up at once if one has ended."""

        def tails() -> str:
            return "\n".join(tail(self.log(name)) for name in names)

        def watched() -> bool:
            ended = [name for name in names if self._machine.process(name) is None]
            if ended:
                raise RuntimeError(f"{describe}: no, {' and '.join(ended)} ended\n{tails()}")
            return observe()

        wait_until(describe, watched, _START_SECONDS, explain=tails)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.enter(*command),
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )

    def _import_images(self) -> None:
        self.runtime_start()
        present = self.images_offered()
        for image in self._images:
            if image.name not in present:
                result = self._run([*self.runtime.importing(), str(image.tar), image.name])
                if result.returncode != 0:
                    raise RuntimeError(f"can't import {image.tar}: {result.stderr}")
        names = {image.name for image in self._images}
        self._wait(
            "the runtime offers the images to the kubelet",
            lambda: names <= self.images_offered(),
            self.runtime.process,
        )

    def _kubelet_healthy(self) -> bool:
        server = f"--server={configuration.KUBELET_HEALTH_SERVER}"
        return self.kubectl(server, "get", "--raw", "/healthz", check=False) == "ok"

    def _reported_ready_since(self, began: datetime) -> bool:
        found = self.get("node", NODE_NAME) or {}
        return any(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and datetime.fromisoformat(condition["lastHeartbeatTime"]) > began
            for condition in found.get("status", {}).get("conditions", [])
        )

    def _knows_pods(self) -> bool:
        on_the_node = ("pods", "--all-namespaces", f"--field-selector=spec.nodeName={NODE_NAME}")
        bound = json.loads(self.kubectl("get", *on_the_node, "--output=json"))
        path = f"/api/v1/nodes/{NODE_NAME}/proxy/pods"
        known = json.loads(self.kubectl("get", "--raw", path, check=False) or "{}")
        return _uids(bound) <= _uids(known)

    def _takes_pods(self) -> bool:
        node = self.node()
        return condition(node, "Ready") == "True" and not node["spec"].get("taints")

    def _has_account(self) -> bool:
        """Whether namespaces have their default accounts, without which no pod is admitted."""
        return all(self.get("serviceaccount", "default", name) for name in _NAMESPACES)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _uids(pods: dict[str, Any]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods.get("items") or ()}
