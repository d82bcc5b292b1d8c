"""A kubelet without Kubernetes: real sockets, real calls, its own records.

What it knows of a kubelet's habits was observed on real ones; `Profile` holds what differs between
versions. It runs as many plugins as register, but a pod here asks for one resource only.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from teeplugin.simulator.admission import (
    Admission,
    AdmissionError,
    ContainerGrant,
    ContainerStartError,
    container_answer,
)
from teeplugin.simulator.connection import PluginCallError
from teeplugin.simulator.device_manager import DeviceError, DeviceManager, Holding
from teeplugin.simulator.events import Event, EventKind, EventLog
from teeplugin.simulator.pod_resources import PodResourcesService
from teeplugin.simulator.profile import MODERN, Profile
from teeplugin.simulator.registration_server import RegistrationService
from teeplugin.simulator.sockets import UnixServer, clear_directory

DEFAULT_RESOURCE = "huawei.com/tee-ram"
CHECKPOINT = "kubelet_internal_checkpoint"
_SOCKET = "kubelet.sock"


class SimulatedKubelet:
    """A kubelet that owns `kubelet_dir`; an async context manager, started on entry.

    `profile` may be replaced while it is stopped. Methods that name no resource mean `resource`.
    `cdi_directory` has the runtime's CDI specifications; without one the runtime has no CDI.
    """

    def __init__(
        self,
        kubelet_dir: Path | str,
        *,
        profile: Profile = MODERN,
        resource: str = DEFAULT_RESOURCE,
        cdi_directory: Path | None = None,
    ) -> None:
        self.kubelet_dir = Path(kubelet_dir)
        self.device_plugins_dir = self.kubelet_dir / "device-plugins"
        self.socket = self.device_plugins_dir / _SOCKET
        self.pod_resources_socket = self.kubelet_dir / "pod-resources" / _SOCKET
        self.profile = profile
        self.resource = resource
        self.cdi_directory = cdi_directory
        self.log = EventLog()
        self.devices = DeviceManager()
        self.running = False
        self._servers: list[UnixServer] = []
        self._registration: RegistrationService | None = None
        self._started_at = 0.0
        self._admission = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def events(self) -> list[Event]:
        """All that has happened, across restarts."""
        return self.log.events

    async def start(self) -> None:
        """Clear the directory, read the checkpoint, open the sockets."""
        if self.running:
            raise RuntimeError("the simulated kubelet runs already: stop() or kill() it first")
        for directory in (self.device_plugins_dir, self.pod_resources_socket.parent):
            # As a real one's, whatever the umask: the plugin wants it to be its owner's alone.
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        clear_directory(
            self.device_plugins_dir, every_file=self.profile.deletes_every_file, keep=CHECKPOINT
        )
        self._started_at = time.monotonic()
        self.devices = self._restored()
        self._registration = RegistrationService(
            self.device_plugins_dir, self.profile, self.devices, self.log
        )
        self.running = True
        try:
            if self.profile.serves_pod_resources:
                self.pod_resources_socket.unlink(missing_ok=True)
                lister = UnixServer([PodResourcesService(self.devices, self._sources_ready)])
                self._servers.append(lister)
                await lister.bind(self.pod_resources_socket)
            registry = UnixServer([self._registration])
            self._servers.append(registry)
            await registry.bind(self.socket, self.profile.listen_delay_seconds)
        except BaseException:
            await self.kill()
            raise
        self.log.record(EventKind.STARTED, text=self.profile.version)

    async def stop(self) -> None:
        """End in order: streams are reset, connections closed. kubelet.sock stays, as a real one's.

        A kubelet that doesn't run is left as it is.
        """
        await self._end(EventKind.STOPPED, abrupt=False)

    async def kill(self) -> None:
        """End as by SIGKILL: connections just close, files stay."""
        await self._end(EventKind.KILLED, abrupt=True)

    def freeze(self) -> None:
        """Stand still as by SIGSTOP: peers connect and write, nothing is read, until `thaw`."""
        self._freeze(frozen=True)

    def thaw(self) -> None:
        """Run again as by SIGCONT."""
        self._freeze(frozen=False)

    def _freeze(self, *, frozen: bool) -> None:
        for server in self._servers:
            server.freeze(frozen=frozen)
        if self._registration is not None:
            self._registration.freeze(frozen=frozen)

    async def _end(self, kind: EventKind, *, abrupt: bool) -> None:
        if not self.running:
            return
        self.running = False
        servers, self._servers = self._servers, []
        if self._registration is not None:
            await self._registration.end(abrupt=abrupt)
        for server in servers:
            await server.end(abruptly=abrupt)
        for name in self.devices.resources:
            self.devices.disconnected(name, time.monotonic())
        self.log.record(kind)

    async def admit(
        self,
        pod: str,
        units: int = 0,
        *,
        namespace: str = "default",
        container: str = "main",
        containers: Mapping[str, int] | None = None,
        resource: str | None = None,
    ) -> Admission:
        """Give a pod its devices, one Allocate for each container; pods come one at a time.

        `containers` maps names to units where there is more than one. Without devices for all,
        the pod keeps none.

        Raises:
            AdmissionError: the pod was refused, worded as in a real pod's status.
            ContainerStartError: it was admitted, but PreStartContainer failed, or a CDI device is
                in no specification; it keeps its ids.
        """
        wanted = containers or {container: units}
        async with self._admission:
            if any(self.devices.of_pod(namespace, pod)):
                raise ValueError(f"pod {namespace}/{pod} is admitted already: remove it first")
            try:
                for name, count in wanted.items():
                    await self._allocate(namespace, pod, name, resource or self.resource, count)
            except (DeviceError, PluginCallError) as error:
                self.devices.release(namespace, pod)
                message = f"Allocate failed due to {error}, which is unexpected"
                self.log.record(EventKind.POD_REFUSED, pod=f"{namespace}/{pod}", text=message)
                raise AdmissionError("UnexpectedAdmissionError", message) from error
            except BaseException:
                self.devices.release(namespace, pod)
                raise
            self._write_checkpoint()
            holdings = list(self.devices.of_pod(namespace, pod))
            self.log.record(EventKind.POD_ADMITTED, pod=f"{namespace}/{pod}")
        for holding in holdings:
            await self._start_container(holding)
        return Admission(pod, namespace, {one.container: self._grant(one) for one in holdings})

    async def restart_container(
        self, pod: str, container: str = "main", *, namespace: str = "default"
    ) -> ContainerGrant:
        """Start a container of an admitted pod again, with the devices it has.

        Raises:
            ContainerStartError: one of them isn't healthy any more, or PreStartContainer failed.
        """
        for holding in self.devices.of_pod(namespace, pod):
            if holding.container == container:
                await self._start_container(holding)
                return self._grant(holding)
        raise ValueError(f"no container {container!r} of a pod {namespace}/{pod} is known")

    async def remove(self, pod: str, *, namespace: str = "default") -> None:
        """End a pod; its devices are free again. A pod that isn't there is a ValueError."""
        if not any(self.devices.of_pod(namespace, pod)):
            raise ValueError(f"no pod {namespace}/{pod} is known")
        self.devices.release(namespace, pod)
        self._write_checkpoint()
        self.log.record(EventKind.POD_REMOVED, pod=f"{namespace}/{pod}")

    def capacity(self, resource: str | None = None) -> int:
        """How many devices the node shows, healthy or not."""
        return self.devices.capacity(
            resource or self.resource, time.monotonic(), self.profile.capacity_grace_seconds
        )

    def allocatable(self, resource: str | None = None) -> int:
        """How many of them are healthy, allocated ones included."""
        return len(self.healthy_ids(resource))

    def healthy_ids(self, resource: str | None = None) -> frozenset[str]:
        """The ids that count as healthy."""
        return self.devices.healthy(resource or self.resource)

    def free_ids(self, resource: str | None = None) -> frozenset[str]:
        """The healthy ids that no container holds."""
        return self.devices.available(resource or self.resource)

    def allocated(self, resource: str | None = None) -> dict[str, frozenset[str]]:
        """Ids by pod: by its name in the namespace `default`, else by `namespace/name`."""
        pods: dict[str, frozenset[str]] = {}
        for one in self.devices.holdings:
            if one.resource == (resource or self.resource):
                key = one.pod if one.namespace == "default" else f"{one.namespace}/{one.pod}"
                pods[key] = pods.get(key, frozenset()) | one.ids
        return pods

    async def wait_for(
        self, condition: Callable[[], bool], deadline_seconds: float, what: str = "the condition"
    ) -> None:
        """Return once the condition holds: it is looked at after each event, and not polled.

        Raises:
            TimeoutError: it did not hold in time.
        """
        await self.log.wait_for(condition, deadline_seconds, what)

    async def _allocate(
        self, namespace: str, pod: str, container: str, resource: str, units: int
    ) -> None:
        """Choose ids, call Allocate, enter the answer in the allocation records."""
        devices = self.devices  # a restart in between makes new ones
        book = devices.usable(resource)
        preferred: list[str] = []
        if book.client and book.preferred_allocation:
            preferred = await book.client.preferred(devices.available(resource), units)
        ids = devices.choose(resource, units, preferred)
        holding: Holding | None = None
        try:
            if book.client is None:
                raise PluginCallError(f"endpoint {resource} has been stopped")
            response = await book.client.allocate(ids)
            answer = container_answer(response)
            if answer is None:
                raise PluginCallError(f"no containers return in allocation response {response}")
            holding = Holding(namespace, pod, container, resource, ids, bytes(answer))
        finally:
            devices.settle(resource, ids, holding)

    async def _start_container(self, holding: Holding) -> None:
        try:
            book = self.devices.check_restart(holding)
            if book.client and book.pre_start:
                await book.client.pre_start(holding.ids)
        except (DeviceError, PluginCallError) as error:
            raise ContainerStartError(str(error)) from error

    def _grant(self, holding: Holding) -> ContainerGrant:
        passes_cdi = self.profile.passes_cdi_devices
        return ContainerGrant.of(holding, self.cdi_directory if passes_cdi else None)

    def _sources_ready(self) -> bool:
        return time.monotonic() - self._started_at >= self.profile.sources_ready_seconds

    def _restored(self) -> DeviceManager:
        path = self.device_plugins_dir / CHECKPOINT
        if not path.exists():
            return DeviceManager()
        return DeviceManager.restored(path.read_text(), self._started_at)

    def _write_checkpoint(self) -> None:
        (self.device_plugins_dir / CHECKPOINT).write_text(self.devices.checkpoint())
