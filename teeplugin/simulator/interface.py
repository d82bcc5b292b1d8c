"""What the contract tests need of a kubelet: the simulated one offers it, a real one's driver can.

A driver of a real kubelet answers the plain methods from what it watches at the API server, and
wakes `wait_for` when that changes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from teeplugin.simulator.admission import Admission, ContainerGrant


class Kubelet(Protocol):
    """A kubelet under which plugins run."""

    @property
    def kubelet_dir(self) -> Path:
        """The directory that holds device-plugins and pod-resources."""

    @property
    def device_plugins_dir(self) -> Path:
        """Where kubelet.sock and the plugins' sockets are."""

    @property
    def pod_resources_socket(self) -> Path:
        """Where PodResources is served."""

    async def start(self) -> None:
        """Start it, or start it again."""

    async def stop(self) -> None:
        """Stop it in order."""

    async def kill(self) -> None:
        """End it with nothing cleaned up."""

    async def admit(
        self,
        pod: str,
        units: int = 0,
        *,
        namespace: str = "default",
        container: str = "main",
        containers: Mapping[str, int] | None = None,
    ) -> Admission:
        """Give a pod its devices, or raise AdmissionError."""

    async def restart_container(
        self, pod: str, container: str = "main", *, namespace: str = "default"
    ) -> ContainerGrant:
        """Start a container of an admitted pod again, or raise ContainerStartError."""

    async def remove(self, pod: str, *, namespace: str = "default") -> None:
        """End a pod; its devices are free again."""

    def capacity(self, resource: str | None = None) -> int:
        """How many devices the node has."""

    def allocatable(self, resource: str | None = None) -> int:
        """How many of them are healthy."""

    def held(self, resource: str | None = None) -> Mapping[str, frozenset[str]]:
        """Which pod holds which ids."""

    async def wait_for(
        self, condition: Callable[[], bool], deadline_seconds: float, what: str = "the condition"
    ) -> None:
        """Return once the condition holds, or raise TimeoutError."""
