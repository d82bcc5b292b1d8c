"""What the guarantees need of a kubelet, and the simulated one's answers."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teeplugin.simulator import AdmissionError, SimulatedKubelet
from tests.plugin_process import Plugin
from tests.waiting import eventually

ACCESS_PATHS = ("/var/itrustee/teecd", "/dev/teelog", "/dev/tc_ns_cvm")


@dataclass(frozen=True)
class Handed:
    """What a container found inside: variables, mounts with whether they are read-only, nodes."""

    environment: Mapping[str, str]
    mounts: Mapping[str, bool]
    devices: frozenset[str]


class RefusedError(Exception):
    """The kubelet did not admit a pod."""


class KubeletUnderTest(abc.ABC):
    """A kubelet that a test can start, stop and ask."""

    kubelet_dir: Path
    """Where the test sees the kubelet's directory."""

    settle_seconds: float = 15
    """How long anything may take at most, on a busy machine: what is promised sooner says so."""

    pod_seconds: float = 0
    """How long `admit` and `remove` have to end by themselves: what is cancelled may still happen,
    where they run a program in a thread."""

    @property
    def device_plugins_dir(self) -> Path:
        return self.kubelet_dir / "device-plugins"

    @abc.abstractmethod
    def plugin(self, directory: Path, name: str = "plugin", *, units: int = 128) -> Plugin:
        """Make a plugin for this kubelet, not yet started."""

    @abc.abstractmethod
    async def start(self) -> None: ...

    @abc.abstractmethod
    async def stop(self) -> None: ...

    @abc.abstractmethod
    async def kill(self) -> None: ...

    @abc.abstractmethod
    async def freeze(self) -> None:
        """Have it stand still, as by SIGSTOP."""

    @abc.abstractmethod
    async def thaw(self) -> None: ...

    @abc.abstractmethod
    async def healthy(self) -> frozenset[str]:
        """The ids the kubelet would allocate or has allocated."""

    @abc.abstractmethod
    async def capacity(self) -> int:
        """All devices it knows, healthy or not."""

    @abc.abstractmethod
    async def admit(self, pod: str, units: int) -> None:
        """Have a pod admitted and run, or raise RefusedError with the text in its status."""

    @abc.abstractmethod
    async def allocated(self, pod: str) -> frozenset[str]:
        """The ids a pod holds, by the kubelet's own records."""

    @abc.abstractmethod
    async def handed(self, pod: str) -> Handed:
        """What the pod's container was handed."""

    @abc.abstractmethod
    async def remove(self, pod: str) -> None: ...

    async def admits(self, pod: str, units: int) -> bool:
        """Tell whether a pod is admitted now."""
        try:
            await self.admit(pod, units)
        except RefusedError:
            return False
        return True

    async def has(self, healthy: int, *, within_seconds: float | None = None) -> None:
        """Wait until so many devices are healthy."""
        await eventually(
            f"{healthy} healthy devices",
            self.healthy,
            within_seconds or self.settle_seconds,
            until=lambda ids: len(ids) == healthy,
        )

    async def keeps(self, capacity: int) -> None:
        """Wait until the node's capacity is so."""
        await eventually(
            f"a capacity of {capacity}",
            self.capacity,
            self.settle_seconds,
            until=lambda seen: seen == capacity,
        )


class Simulated(KubeletUnderTest):
    """The simulated kubelet, with a scratch directory as the node's root."""

    def __init__(self, kubelet: SimulatedKubelet, host_root: Path) -> None:
        self.kubelet = kubelet
        self.kubelet_dir = kubelet.kubelet_dir
        self.host_root = host_root
        for path in ACCESS_PATHS:
            node = host_root / path.lstrip("/")
            node.parent.mkdir(parents=True, exist_ok=True)
            node.touch()

    def plugin(
        self,
        directory: Path,
        name: str = "plugin",
        *,
        units: int = 128,
        flags: Sequence[str] = ("--health-interval", "0.1"),
        listen: str = "off",
    ) -> Plugin:
        return Plugin(
            directory,
            kubelet_dir=self.kubelet_dir,
            host_root=self.host_root,
            flags=flags,
            units=units,
            name=name,
            listen=listen,
        )

    async def start(self) -> None:
        await self.kubelet.start()

    async def stop(self) -> None:
        await self.kubelet.stop()

    async def kill(self) -> None:
        await self.kubelet.kill()

    async def freeze(self) -> None:
        self.kubelet.freeze()

    async def thaw(self) -> None:
        self.kubelet.thaw()

    async def healthy(self) -> frozenset[str]:
        return self.kubelet.healthy_ids()

    async def capacity(self) -> int:
        return self.kubelet.capacity()

    async def admit(self, pod: str, units: int) -> None:
        try:
            await self.kubelet.admit(pod, units)
        except AdmissionError as error:
            raise RefusedError(error.message) from error

    async def allocated(self, pod: str) -> frozenset[str]:
        return self.kubelet.allocated().get(pod, frozenset())

    async def handed(self, pod: str) -> Handed:
        grant = await self.kubelet.restart_container(pod)
        return Handed(
            environment=grant.envs,
            mounts={mount.container_path: mount.read_only for mount in grant.mounts},
            devices=frozenset(device.container_path for device in grant.devices),
        )

    async def remove(self, pod: str) -> None:
        await self.kubelet.remove(pod)
