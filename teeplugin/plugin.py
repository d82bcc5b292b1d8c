"""Wires backend, health, service and registration in one task group; started by the command line.

Values flow one way: TEE → backend → health → listing → service → kubelet.
"""

import gc
import signal
from collections.abc import AsyncIterator

import anyio

from teeplugin import __version__
from teeplugin.backends import load_backend
from teeplugin.config import ConfigError, Settings
from teeplugin.endpoint import LONGEST_SOCKET_PATH, Endpoint
from teeplugin.health import Health
from teeplugin.inventory import Listing
from teeplugin.judgement import Terms
from teeplugin.latest import Latest
from teeplugin.log import get_logger
from teeplugin.registration import DirectoryLostError, Registration, socket_path_fits
from teeplugin.service import DevicePluginService
from teeplugin.streams import WatchStreams
from teeplugin_backends.base import TeeBackend

_log = get_logger()


def run(settings: Settings) -> int:
    """Be the device plugin until SIGTERM or SIGINT; the exit status for the process.

    Raises:
        ConfigError: the settings don't fit this node; found out before anything is registered.
    """
    if not socket_path_fits(settings.device_plugins_dir):
        raise ConfigError(
            f"--kubelet-dir {settings.kubelet_dir}: a socket's path there would be over "
            f"{LONGEST_SOCKET_PATH} bytes, the longest there is: give a shorter directory"
        )
    backend = load_backend(settings.backend, settings.backend_options)
    try:
        anyio.run(_serve, settings, backend)
    except BaseExceptionGroup as group:
        return _explain(group)
    return 0


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    """Turn what ended the task group into an exit status, or raise it: the first is the cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, DirectoryLostError):
        raise error
    _log.critical("directory_lost", error=str(error))
    return 1


async def _serve(settings: Settings, backend: TeeBackend) -> None:
    listings: Latest[Listing | None] = Latest(None)
    watch_streams = WatchStreams()
    terms = Terms(
        unit_bytes=settings.unit_bytes,
        reserve_bytes=settings.reserve_bytes,
        interval_seconds=settings.health_interval_seconds,
    )
    health = Health(backend=backend, terms=terms, listings=listings, host_root=settings.host_root)
    service = DevicePluginService(
        listings=listings,
        watch_streams=watch_streams,
        access=backend.access,
        unit_bytes=settings.unit_bytes,
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
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        _announce(settings)
        # What was made up to here lives as long as the process: later collections skip it.
        gc.freeze()
        async with backend:
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(health.run)
                    tasks.start_soon(_register_when_listed, registration, listings)
                    await _obey(signals, health, registration)
                    tasks.cancel_scope.cancel()
            finally:
                await endpoint.close()
    _log.info("stopped")


async def _register_when_listed(
    registration: Registration, listings: Latest[Listing | None]
) -> None:
    """Register once there is a list: a node whose TEE never answered has nothing to offer."""
    async for listing in listings.follow():
        if listing is not None:
            break
    await registration.run()


async def _obey(
    signals: AsyncIterator[signal.Signals], health: Health, registration: Registration
) -> None:
    """Return when asked to stop; ask and register again at each SIGHUP, as the original does."""
    async for number in signals:
        if number != signal.SIGHUP:
            _log.info("stopping", signal=number.name)
            return
        _log.info("asked_again", signal=number.name)
        health.ask_now()
        registration.renew()


def _announce(settings: Settings) -> None:
    _log.info(
        "starting",
        version=__version__,
        resource=settings.resource_name,
        backend=settings.backend,
        precision_kb=settings.precision_kb,
        health_interval_seconds=settings.health_interval_seconds,
    )
    if settings.backend == "simulated":
        _log.warning(
            "simulated_tee",
            effect="the units listed stand for no memory: never use this where pods are to run",
        )
    if not settings.health_interval_seconds:
        _log.warning(
            "health_checks_off",
            effect="the TEE is asked at the start and on SIGHUP, and while a fault stands: "
            "else the list does not follow it",
        )
