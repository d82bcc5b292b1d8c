"""Talking to the cluster: kubectl, and what tests ask of pods and of the node."""

from __future__ import annotations

import abc
import json
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.cluster import pods as plain
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import NotReachedError, tail, wait_until

_COMMAND_SECONDS = 60
_POD_SECONDS = 30


class KubectlError(AssertionError):
    """kubectl said no; the message has what it printed."""


class Client(abc.ABC):
    """What can be asked of a cluster once it is known how to run kubectl on it."""

    @abc.abstractmethod
    def kubectl_command(self, *arguments: str) -> list[str]:
        """Give the argument list that runs kubectl on this cluster."""

    @abc.abstractmethod
    def log(self, name: str) -> Path:
        """Name the log of one of the cluster's programs."""

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002
        """Run kubectl and return what it printed; unless `check` is off, failure is an error."""
        result = self._run_kubectl(*arguments, input=input)
        if check and result.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def apply(self, manifest: dict[str, Any] | str) -> None:
        """Create or change objects; text may be YAML with several of them."""
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        self.kubectl("apply", "--filename=-", input=text)

    pod = staticmethod(plain.pod)

    @cached_property
    def pods_run(self) -> set[str]:
        """The uids of all pods that were seen to run."""
        return set()

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """Read one object; None if there is none of this name."""
        text = self.kubectl(
            "get", kind, name, f"--namespace={namespace}", "--output=json", "--ignore-not-found"
        )
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def pods(self, selector: str = "", namespace: str = "default") -> list[dict[str, Any]]:
        """List the pods that have these labels, or all."""
        text = self.kubectl(
            "get", "pods", f"--namespace={namespace}", f"--selector={selector}", "--output=json"
        )
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def run_pod(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create a pod, wait until it is ready, and return it."""
        self.apply(manifest)
        return self.wait_pod(manifest["metadata"]["name"], "Running")

    def wait_pod(
        self, name: str, phase: str, deadline_seconds: float = _POD_SECONDS
    ) -> dict[str, Any]:
        """Wait until a pod is in a phase, given as "Running" or "Failed/Reason", and return it.

        Running pods must be ready too.
        """

        def reached() -> dict[str, Any] | None:
            found = self.get("pod", name)
            fits = plain.phase(found) == phase and (phase != "Running" or plain.ready(found))
            return found if fits else None

        try:
            found = wait_until(f"pod {name} is {phase}", reached, deadline_seconds)
        except NotReachedError as error:
            described = self.kubectl("describe", "pod", name, check=False)
            raise NotReachedError(f"{error}{described}\n{tail(self.log('kubelet'))}") from None
        assert found is not None
        if phase == "Running":
            self.pods_run.add(found["metadata"]["uid"])
        return found

    def delete_pod(self, name: str) -> None:
        """Delete a pod, if it is there, and wait until it is gone."""
        self.kubectl("delete", "pod", name, "--ignore-not-found", "--wait", "--timeout=30s")

    def delete_all_pods(self) -> None:
        """Delete all pods of the default namespace and wait until they are gone."""
        # One request for all: kubectl asks for each, which takes a minute where hundreds failed.
        self.kubectl("delete", "--raw", "/api/v1/namespaces/default/pods")
        wait_until("all pods are gone", lambda: not self.pods(), _COMMAND_SECONDS)

    def exec(self, pod: str, *command: str) -> str:
        """Run a command in a pod's container and return what it printed."""
        return self.kubectl("exec", pod, "--", *command)

    def logs(self, pod: str) -> str:
        """Read what a pod's container printed."""
        return self.kubectl("logs", pod)

    def restarts(self, pod: str) -> int:
        """Count how often a pod's containers were started again."""
        found = self.get("pod", pod)
        if found is None:
            raise AssertionError(f"there is no pod {pod}")
        return plain.restarts(found)

    def node(self) -> dict[str, Any]:
        """Read the node object."""
        found = self.get("node", NODE_NAME)
        if found is None:
            raise AssertionError("the node has not been registered")
        return found

    def capacity(self, resource: str = plain.RESOURCE) -> int:
        """Read how many units of a resource the node object has; 0 if it lists none."""
        return plain.whole(self.node()["status"]["capacity"].get(resource, "0"))

    def allocatable(self, resource: str = plain.RESOURCE) -> int:
        """Read how many units of a resource the node object offers; 0 if it lists none."""
        return plain.whole(self.node()["status"]["allocatable"].get(resource, "0"))

    def _run_kubectl(
        self,
        *arguments: str,
        input: str | None = None,  # noqa: A002
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.kubectl_command(*arguments),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
