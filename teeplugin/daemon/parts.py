"""The parts of a running plugin, made and wired: run by plugin, read by telemetry.

Values flow one way: TEE → backend → health → listing → service → kubelet.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import anyio

from teeplugin import __version__
from teeplugin.config.settings import Settings
from teeplugin.daemon.reload import Reloader, Sources
from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.pod_resources_client import Ledger
from teeplugin.kubelet.registration import Registration
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.decide import Terms
from teeplugin.policy.device_list import Inventory, Listing
from teeplugin.primitives.latest import Latest
from teeplugin.tee.poller import Health
from teeplugin_backends.base import TeeBackend


class Running(NamedTuple):
    """What runs, and what it was started with; `stopping` is set when the plugin is to end."""

    version: str
    resource: str
    backend: str
    backend_counters: Callable[[], Mapping[str, int]]
    health: Health
    ledger: Ledger
    listings: Latest[Listing | None]
    service: DevicePluginService
    endpoint: Endpoint
    registration: Registration
    reloader: Reloader
    watch_streams: WatchStreams
    stopping: anyio.Event

    @property
    def inventory(self) -> Inventory:
        """The units that are listed: none before the first reading."""
        listing = self.listings.value
        return listing.inventory if listing else Inventory()


def assemble(settings: Settings, backend: TeeBackend, sources: Sources | None = None) -> Running:
    """Make the parts, none of which does anything yet."""
    listings: Latest[Listing | None] = Latest(None)
    watch_streams = WatchStreams()
    terms = Terms(
        unit_bytes=settings.unit_bytes,
        reserve_bytes=settings.reserve_bytes,
        interval_seconds=settings.health_interval_seconds,
    )
    ledger = Ledger(socket=settings.pod_resources_socket, resource_name=settings.resource_name)
    health = Health(
        backend=backend,
        terms=terms,
        ledger=ledger,
        listings=listings,
        host_root=settings.host_root,
    )
    service = DevicePluginService(
        listings=listings,
        watch_streams=watch_streams,
        access=backend.access,
        unit_bytes=settings.unit_bytes,
        on_allocated=ledger.promise,
    )
    endpoint = Endpoint(
        directory=settings.device_plugins_dir, service=service, watch_streams=watch_streams
    )
    registration = Registration(
        directory=settings.device_plugins_dir,
        resource_name=settings.resource_name,
        endpoint=endpoint,
        watch_streams=watch_streams,
    )
    return Running(
        version=__version__,
        resource=settings.resource_name,
        backend=settings.backend,
        backend_counters=backend.counters,
        health=health,
        ledger=ledger,
        listings=listings,
        service=service,
        endpoint=endpoint,
        registration=registration,
        reloader=Reloader(settings, sources, health),
        watch_streams=watch_streams,
        stopping=anyio.Event(),
    )
