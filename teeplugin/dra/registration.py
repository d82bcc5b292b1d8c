"""Has the kubelet find the driver: two sockets, of which the kubelet watches one's directory.

Each instance has sockets of its own name, so that a successor registers beside an old instance and
the kubelet calls the newest. The kubelet looks at the directory when it starts: nothing has to be
called after its restart.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from grpclib.const import Handler

from teeplugin.api.pluginregistration import pluginregistration as api
from teeplugin.dra.driver import MAX_REQUEST_BYTES, DraDriver
from teeplugin.dra.health import HealthService
from teeplugin.dra.resources import DRIVER
from teeplugin.kubelet.device_plugin_service import RequestCodec
from teeplugin.kubelet.directory_watch import DirectoryWatch
from teeplugin.kubelet.endpoint import ServedSocket
from teeplugin.kubelet.grpc_server import GrpcServer
from teeplugin.kubelet.permission import REFUSED, who_refuses
from teeplugin.kubelet.registration import LOOK_SECONDS, missing_directory
from teeplugin.kubelet.registration_status import NotRegistered, RegistrationStatus
from teeplugin.kubelet.socket_probe import GET_INFO_METHOD
from teeplugin.primitives.signal import Signal
from teeplugin.primitives.waiting import first_of

SUPPORTED_VERSIONS: Final = (
    "v1.DRAPlugin",
    "v1.DRAResourceHealth",
    "v1alpha1.DRAResourceHealth",
)

UNREGISTERED_SECONDS: Final = 60.0
"""How long the kubelet may leave us unregistered before it gets another socket to find."""

_DIRECTORY_MODE: Final = 0o750


def driver_directory(kubelet_dir: Path) -> Path:
    """Where the driver's own socket is, below the kubelet's root directory."""
    return kubelet_dir / "plugins" / DRIVER


def registry_directory(kubelet_dir: Path) -> Path:
    """Where the kubelet looks for sockets of drivers."""
    return kubelet_dir / "plugins_registry"


class _Services:
    """The driver's services behind one socket."""

    def __init__(self, driver: DraDriver, health: HealthService) -> None:
        self._driver = driver
        self._health = health

    def __mapping__(self) -> dict[str, Handler]:
        return {**self._driver.__mapping__(), **self._health.__mapping__()}


class DraRegistration(api.RegistrationBase):
    """Keeps the sockets in place, and answers the kubelet that finds them.

    `on_registered` is called each time the kubelet registered us: a kubelet that starts deletes the
    node's slices. For telemetry: the `status`.
    """

    probe_method = GET_INFO_METHOD
    """A call that changes nothing."""

    def __init__(
        self,
        *,
        kubelet_dir: Path,
        driver: DraDriver,
        health: HealthService,
        on_registered: Callable[[], None],
    ) -> None:
        self._registry_dir = registry_directory(kubelet_dir)
        self._driver_dir = driver_directory(kubelet_dir)
        self._services = _Services(driver, health)
        self._health = health
        self._on_registered = on_registered
        self._registry = ServedSocket(self._registry_dir)
        self._endpoint = ServedSocket(self._driver_dir)
        self._changed = Signal()
        self._renewing = False
        self._opened_at = monotonic()
        self._registered_at: float | None = None
        self._seen_connected = False
        self.status = RegistrationStatus()
        self.status.not_registered_reason = "the kubelet has not found the driver's socket yet"

    @property
    def path(self) -> Path:
        """The socket that the kubelet finds us by."""
        return self._registry.path

    @property
    def in_place(self) -> bool:
        """Whether both sockets are there."""
        return self._registry.in_place and self._endpoint.in_place

    def renew(self) -> None:
        """Register again though nothing is wrong, as SIGHUP asks."""
        self._renewing = True
        self._changed.set()

    async def get_info(self, message: api.InfoRequest) -> api.PluginInfo:  # noqa: ARG002 - the interface's
        """Tell the kubelet what we are, and where our services are."""
        return api.PluginInfo(
            type="DRAPlugin",
            name=DRIVER,
            endpoint=str(self._endpoint.path),
            supported_versions=list(SUPPORTED_VERSIONS),
        )

    async def notify_registration_status(
        self, message: api.RegistrationStatus
    ) -> api.RegistrationStatusResponse:
        """Note what became of the registration; the kubelet tries again by itself."""
        if message.plugin_registered:
            self._registered_at = monotonic()
            self._seen_connected = False
            seconds = self._registered_at - self._opened_at
            self.status.registered(DRIVER, self._registry.path.name, seconds)
            self._on_registered()
        else:
            self._registered_at = None
            self.status.failed(NotRegistered("the kubelet refused the registration", message.error))
        return api.RegistrationStatusResponse()

    async def run(self) -> None:
        """Open the sockets, and open them anew where they are gone, until cancelled.

        Raises:
            DirectoryLostError: a directory's mount is dead.
        """
        async with DirectoryWatch(self._registry_dir) as watch:
            while True:
                seen = self._changed.count
                reason = await self._make_ready()
                if reason is not None:
                    self._registered_at = None
                    self.status.failed(reason)
                self._look_for_the_kubelet()
                await first_of(LOOK_SECONDS, watch.changed, partial(self._changed.after, seen))

    async def close(self) -> None:
        """Leave: first the socket that the kubelet finds us by, then the services."""
        await self._registry.close()
        self._health.end()
        await self._endpoint.close()

    async def _make_ready(self) -> NotRegistered | None:
        """Have both sockets in place; else say what is in the way."""
        if reason := await missing_directory(self._registry_dir):
            return reason
        try:
            if not self._endpoint.in_place:
                await self._open_endpoint()
                self._renewing = True
            if self._renewing or not self._registry.in_place or self._is_overlooked():
                self._renewing = False
                await self._registry.close()
                self._opened_at = monotonic()
                await self._registry.open(GrpcServer(self, _codec()))
        except OSError as error:
            words = f"{error.strerror or error}"
            if error.errno in REFUSED:
                words = f"{words}: {who_refuses(self._driver_dir)}"
            return NotRegistered(
                f"can't listen in {self._registry_dir} and {self._driver_dir}",
                words,
                may_pass=True,
            )
        return None

    async def _open_endpoint(self) -> None:
        await self._endpoint.close()
        self._driver_dir.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
        # The kubelet connects when it registers us, and may call much later.
        server = GrpcServer(self._services, _codec(), clients_may_idle=True)
        await self._endpoint.open(server)

    def _is_overlooked(self) -> bool:
        waited = monotonic() - self._opened_at
        return self._registered_at is None and waited >= UNREGISTERED_SECONDS

    def _look_for_the_kubelet(self) -> None:
        """Notice that the kubelet's connection, once seen, is gone."""
        if self._registered_at is None:
            return
        is_connected = bool(self._endpoint.server and self._endpoint.server.clients)
        if self._seen_connected and not is_connected:
            self.status.lost("the kubelet's connection ended", monotonic() - self._registered_at)
            self._registered_at = None
            self._opened_at = monotonic()
        self._seen_connected = is_connected


def _codec() -> RequestCodec:
    return RequestCodec(MAX_REQUEST_BYTES, "the kubelet's DRA interface v1")
