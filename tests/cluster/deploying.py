"""A user's shell in a checkout, with `docker` and the lab's `kubectl`; for the test_deploy files.

What takes long is done once a session: sources are copied, pkg/ is built, the guide's lines make
and push the image.
"""

from __future__ import annotations

import atexit
import functools
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import building
from tests.cluster.lab import Lab
from tests.cluster.pods import ready
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import wait_until
from tests.needs import need
from tests.tee import teecd
from tests.tee.build import SAMPLE_UUID, build, write_signed

IMAGE = "lab.local/tee-device-plugin:1"
DEMO_IMAGE = "lab.local/tee-demo:1"
NAMESPACE = "kube-system"
DAEMON_SET = "k8s-tee-device-plugin-ds"
LABEL = "teetype=trustzone"
READY_SECONDS = 60
MIN_READY_SECONDS = 3
"""The manifests' minReadySeconds."""
ITRUSTEE_UNITS = (1024 - 600) * 2
"""The test library's TEE has 1 GiB, of which 600 MiB are iTrustee's own."""

_LINE_SECONDS = 600


class Shell:
    """A user's shell at the top of a checkout; its cluster is the lab."""

    def __init__(self, lab: Lab, folder: Path, programs: Path) -> None:
        self.lab = lab
        self.folder = folder
        self._programs = programs
        programs.mkdir(exist_ok=True)
        self.program("kubectl", lab.kubectl_command())

    def typed(self, line: str, *, fails: bool = False) -> str:
        """Run a line as typed, and return what it printed."""
        print(f"\n$ {line}")
        environment = building.shell_environment()
        result = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder,
            env=environment | {"PATH": f"{self._programs}:{environment['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LINE_SECONDS,
            check=False,
        )
        assert (result.returncode != 0) == fails, result.stdout[-4000:]
        return result.stdout

    def importer(self) -> list[str]:
        """The command that imports an image: its archive and its name are to follow."""
        return self.lab.enter(*self.lab.runtime.importing())

    def program(self, name: str, command: list[str]) -> None:
        """Put a program on PATH that runs a command of the lab's with further words."""
        words = [*self._from_anywhere(command), '"$@"']
        program = self._programs / name
        program.write_text(f"#!/bin/sh\nexec {' '.join(words)}\n")
        program.chmod(0o755)

    @staticmethod
    def _from_anywhere(command: list[str]) -> list[str]:
        """Quote a command of the lab's, but for the present directory: take that of the call."""
        here = str(Path.cwd())
        return ['"$PWD"' if word == here else shlex.quote(word) for word in command]

    def wait_for_image(self, name: str) -> None:
        """Wait until the kubelet can find an image that was imported."""

        wait_until(
            f"{name} is offered to the kubelet", lambda: name in self.lab.images_offered(), 30
        )


@pytest.fixture(scope="session")
def shell(lab: Lab) -> Shell:
    """Give a shell in a checkout with pkg/ built, and the image in the lab; one for all modules."""
    need("images")
    return _shell(lab)


@functools.cache
def _workshop() -> tempfile.TemporaryDirectory[str]:
    # Beside the lab's own state, whose path is the same inside: kubectl reads files from here.
    return tempfile.TemporaryDirectory(dir="/var/tmp", prefix="teeplugin-deploy-")


@functools.cache
def _shell(lab: Lab) -> Shell:
    place = Path(_workshop().name)
    shell = Shell(lab, building.copy_sources(place / "checkout"), place / "programs")
    building.make_parts(shell.folder)
    _stand_in_for_the_nodes_files(place / "node", shell.folder / "pkg")
    _start_teecd(lab)
    building.Builder(place, shell.importer()).prepare(place / "programs")
    build_as_in_the_guide(shell, place / "node")
    return shell


def _stand_in_for_the_nodes_files(node: Path, pkg: Path) -> None:
    """What iTrustee and its SDK would have brought: libraries, tlogcat, the signed TA."""
    library = build(node / "build").itrustee
    (node / "usr/lib64").mkdir(parents=True)
    (node / "usr/lib64/libteec.so").write_bytes(library.read_bytes())
    empty = [
        "gcc",
        "-shared",
        "-o",
        str(node / "usr/lib64/libboundscheck.so"),
        "-x",
        "c",
        os.devnull,
    ]
    subprocess.run(empty, check=True)
    (node / "usr/bin").mkdir(parents=True)
    (node / "usr/bin/tlogcat").write_text("#!/bin/sh\n")
    write_signed(pkg / f"{SAMPLE_UUID}.sec")


def _start_teecd(lab: Lab) -> None:
    """Run a mock teecd on the lab's node, as iTrustee's nodes do; it ends with the lab, or us."""
    words = ("-I", "-S", teecd.__file__, "/var/itrustee/teecd/teecd.sock", os.devnull)
    process = subprocess.Popen(
        lab.enter(sys.executable, *words, str(teecd.MAJOR)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    atexit.register(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"


def build_as_in_the_guide(shell: Shell, node: Path) -> None:
    """Build the image by the guide's own lines, and push it; then the demonstration's."""
    limits = "deploy/limits/limits.sh deploy/systemd/tee-limit.*"
    shell.typed(f"cp pkg/* {limits} deploy/docker/")
    shell.typed(f"cp {node}/usr/bin/tlogcat {node}/usr/lib64/*.so deploy/docker/")
    print(shell.typed("sh deploy/docker/check.sh"))
    shell.typed("docker build -t tee-device-plugin deploy/docker")
    shell.typed(f"docker tag tee-device-plugin {IMAGE}")
    shell.typed(f"docker push {IMAGE}")
    shell.typed("docker build -t tee-demo deploy/demo")
    shell.typed(f"docker tag tee-demo {DEMO_IMAGE}")
    shell.typed(f"docker push {DEMO_IMAGE}")
    # "Change the image to your own": in the manifests of the copy.
    shell.typed(f"sed -i 's|image: tee-device-plugin:latest|image: {IMAGE}|' deploy/base/*.yml")
    shell.typed(f"sed -i 's|image: tee-demo:latest|image: {DEMO_IMAGE}|' deploy/test-pod.yml")
    for image in (IMAGE, DEMO_IMAGE):
        shell.wait_for_image(image)


# The DaemonSet


def plugin_pods(lab: Lab) -> list[dict[str, Any]]:
    """The plugin's pods, but for those that are being deleted."""
    found = lab.pods(f"name={DAEMON_SET}", NAMESPACE)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def wait_for_plugin(lab: Lab) -> dict[str, Any]:
    """Wait until the DaemonSet has its one pod, ready, and return it."""
    wait_until(
        "the plugin has one pod, which is ready",
        lambda: [(pod["metadata"]["name"], ready(pod)) for pod in plugin_pods(lab)],
        READY_SECONDS,
        accept=lambda found: len(found) == 1 and found[0][1],
        explain=lambda: lab.kubectl("describe", "pods", f"--namespace={NAMESPACE}", check=False),
    )
    return plugin_pods(lab)[0]


def wait_until_settled(lab: Lab) -> None:
    """Wait until the next roll-out doesn't get stuck for having come too soon.

    The DaemonSet's controller wakes up once a second after a pod that got ready has been so for
    minReadySeconds. A pod that gets ready meanwhile is not looked at again (Kubernetes 1.36.3).
    They count for the older pod as well where the roll-out is what brings them.
    """
    found = lab.get("daemonset", DAEMON_SET, NAMESPACE)
    if found is None:
        return  # this roll-out is the first
    seconds = max(found["spec"].get("minReadySeconds", 0), MIN_READY_SECONDS) + 1
    wait_until(
        f"the plugin's pod has been ready for over {seconds} s",
        lambda: [_ready_seconds(pod) for pod in plugin_pods(lab)],
        READY_SECONDS,
        accept=lambda ages: len(ages) == 1 and ages[0] > seconds + 1,
    )


def _ready_seconds(pod: dict[str, Any]) -> float:
    """For how long a pod has been ready, by whole seconds; 0 if it isn't."""
    since = [
        datetime.fromisoformat(one["lastTransitionTime"])
        for one in pod.get("status", {}).get("conditions", [])
        if (one["type"], one["status"]) == ("Ready", "True")
    ]
    return (datetime.now(UTC) - since[0]).total_seconds() if since else 0


def plugin_log(lab: Lab, pod: dict[str, Any] | None = None, *flags: str) -> str:
    """What a pod of the plugin has logged, by default that of the one there is."""
    name = (pod or wait_for_plugin(lab))["metadata"]["name"]
    # Of a container that has not started yet, the log can't be had.
    return lab.kubectl("logs", name, f"--namespace={NAMESPACE}", *flags, check=False)


def wait_for_newer_pod(lab: Lab) -> dict[str, Any]:
    """Wait until a second pod is there beside the one that goes on serving, and return it."""
    return wait_until(
        "a newer pod is there",
        lambda: [pod for pod in plugin_pods(lab) if not ready(pod)],
        READY_SECONDS,
        accept=lambda found: len(found) == 1,
    )[0]


def in_plugin(lab: Lab, *command: str) -> str:
    """Run a command in the plugin's container."""
    name = wait_for_plugin(lab)["metadata"]["name"]
    return lab.kubectl("exec", name, f"--namespace={NAMESPACE}", "--", *command)


@contextmanager
def deployed(shell: Shell, *lines: str) -> Iterator[None]:
    """Label the node and deploy by these lines; afterwards nothing of it is left."""
    lab = shell.lab
    lab.kubelet_start()
    shell.typed(f"kubectl label nodes {NODE_NAME} {LABEL}")
    try:
        for line in lines:
            shell.typed(line)
        wait_for_plugin(lab)
        yield
    finally:
        clear(lab)


def clear(lab: Lab) -> None:
    """Remove applications, the plugin with its settings, and the node's label."""
    lab.kubectl("delete", "deployments", "--all", "--wait")
    lab.delete_all_pods()
    ours = "--selector=app.kubernetes.io/name=tee-device-plugin"
    lab.kubectl("delete", "daemonsets,configmaps", ours, f"--namespace={NAMESPACE}", "--wait")
    wait_until("the plugin's pods are gone", lambda: not lab.pods("", NAMESPACE), 30)
    lab.kubectl("label", "nodes", NODE_NAME, "teetype-")


def overlay(shell: Shell, name: str, settings: str, base: str = "simulated") -> Path:
    """Write an overlay of one's own, as README.md tells; the line `kubectl apply -k` takes it."""
    folder = shell.folder / "deploy" / "overlays" / name
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(settings)
    (folder / "kustomization.yaml").write_text(_OVERLAY.format(base=base))
    return folder


_OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../{base}
configMapGenerator:
  - name: tee-device-plugin-settings
    namespace: kube-system
    behavior: replace
    files:
      - config.yaml
"""
