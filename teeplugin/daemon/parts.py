"""Makes the parts of a running plugin, and connects them.

Values flow one way: TEE → backend → health → listing → service → kubelet.
"""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import anyio

from teeplugin import __version__
from teeplugin.config.settings import ConfigError, Settings
from teeplugin.daemon.reload import Reloader, Sources, policy_settings_of
from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.pod_resources_answer import holders_in
from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.kubelet.registration import Registration
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.decide import check_policy_settings
from teeplugin.policy.device_list import DeviceList, PublishedList
from teeplugin.primitives.latest import Latest
from teeplugin.tee.cdi_check import CdiCheck
from teeplugin.tee.guard import read_access
from teeplugin.tee.limits_watch import LimitsWatch
from teeplugin.tee.poller import TeePoller
from teeplugin_backends.base import TeeBackend

if TYPE_CHECKING:
    from teeplugin.dra.parts import DraParts
    from teeplugin.dra.registration import DraRegistration


class PluginParts(NamedTuple):
    """What runs, and what it was started with; `stopping` is set when the plugin is to end.

    `dra` are the parts of DRA mode, or None. In it `endpoint` and `registration` are the driver's,
    and `service` and `watch_streams` stay unused.
    """

    version: str
    resource: str
    backend: str
    backend_counters: Callable[[], Mapping[str, int]]
    tee_versions: Callable[[], Mapping[str, str]]
    tee_applications: Callable[[], Mapping[str, int]]
    poller: TeePoller
    pod_resources: PodResourcesClient
    latest_list: Latest[PublishedList | None]
    service: DevicePluginService
    endpoint: "Endpoint | DraRegistration"
    registration: "Registration | DraRegistration"
    reloader: Reloader
    watch_streams: WatchStreams
    limits: LimitsWatch | None
    stopping: anyio.Event
    dra: "DraParts | None" = None

    @property
    def device_list(self) -> DeviceList:
        """The units that are listed: none before the first reading."""
        published_list = self.latest_list.value
        return published_list.device_list if published_list else DeviceList()

    @property
    def misfit(self) -> str | None:
        """What is wrong with the settings in force for the TEE that was last read, or None."""
        memory = self.poller.decision.memory
        return check_policy_settings(memory, self.poller.policy_settings) if memory else None

    async def listed(self) -> None:
        """Wait for the first device list."""
        async for published_list in self.latest_list.follow():
            if published_list is not None:
                return


def assemble(
    settings: Settings, backend: TeeBackend, sources: Sources | None = None
) -> PluginParts:
    """Make the parts, none of which does anything yet."""
    latest_list: Latest[PublishedList | None] = Latest(None)
    watch_streams = WatchStreams()
    dra_mode = _dra_mode() if settings.serve == "dra" else None
    holders = dra_mode.ClaimHolders() if dra_mode else None
    read = holders.read if holders else partial(holders_in, resource_name=settings.resource_name)
    pod_resources = PodResourcesClient(socket=settings.pod_resources_socket, read=read)
    poller = TeePoller(
        backend=backend,
        policy_settings=policy_settings_of(settings),
        pod_resources=pod_resources,
        latest_list=latest_list,
        host_root=settings.host_root,
        cdi=CdiCheck(settings.host_root, watch_streams) if settings.cdi == "on" else None,
    )
    service = DevicePluginService(
        latest_list=latest_list,
        watch_streams=watch_streams,
        access=partial(read_access, backend),
        resource_name=settings.resource_name,
        unit_bytes=settings.unit_bytes,
        on_allocated=pod_resources.add_allocated,
        cdi=settings.cdi == "on",
    )
    if dra_mode:
        dra = dra_mode.assemble_dra(settings, backend, poller, pod_resources, holders)
        endpoint = registration = dra.registration
    else:
        dra, (endpoint, registration) = None, _device_plugin(settings, service, watch_streams)
    return PluginParts(
        version=__version__,
        resource=settings.resource_name,
        backend=settings.backend,
        backend_counters=backend.counters,
        tee_versions=backend.versions,
        tee_applications=backend.applications,
        poller=poller,
        pod_resources=pod_resources,
        latest_list=latest_list,
        service=service,
        endpoint=endpoint,
        registration=registration,
        reloader=Reloader(settings, sources, poller),
        watch_streams=watch_streams,
        limits=_limits(settings, pod_resources, poller) if settings.cdi == "on" else None,
        stopping=anyio.Event(),
        dra=dra,
    )


def _device_plugin(
    settings: Settings, service: DevicePluginService, watch_streams: WatchStreams
) -> tuple[Endpoint, Registration]:
    endpoint = Endpoint(
        directory=settings.device_plugins_dir, service=service, watch_streams=watch_streams
    )
    registration = Registration(
        directory=settings.device_plugins_dir,
        resource_name=settings.resource_name,
        endpoint=endpoint,
        watch_streams=watch_streams,
    )
    return endpoint, registration


def _limits(
    settings: Settings, pod_resources: PodResourcesClient, poller: TeePoller
) -> LimitsWatch:
    def holders() -> int | None:
        known = pod_resources.holders
        if known is None:
            return None
        return len({(each.namespace, each.pod, each.container) for each in known})

    return LimitsWatch(settings.host_root, holders, lambda: poller.limited_containers)


def _dra_mode() -> ModuleType:
    """Import what connects DRA mode.

    Raises:
        ConfigError: the API client isn't installed.
    """
    try:
        return importlib.import_module("teeplugin.daemon.dra")
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("teeplugin"):
            raise
        raise ConfigError(
            f"--serve dra: the package {error.name} is not installed: install the extra "
            "teeplugin[dra], or give --serve device-plugin"
        ) from error
