"""Wires backend, health, service and registration in one task group; started by the command line.

Values flow one way: TEE → backend → health → listing → service → kubelet.
"""

import gc
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from teeplugin import __version__
from teeplugin.backends import load_backend
from teeplugin.config import ConfigError, Settings
from teeplugin.connections import LONGEST_SOCKET_PATH
from teeplugin.endpoint import Endpoint
from teeplugin.health import Health
from teeplugin.inventory import Listing
from teeplugin.judgement import Terms
from teeplugin.latest import Latest
from teeplugin.ledger import Ledger
from teeplugin.log import get_logger
from teeplugin.registration import DirectoryLostError, Registration, socket_path_fits
from teeplugin.service import DevicePluginService
from teeplugin.streams import WatchStreams
from teeplugin_backends.base import TeeBackend

END_SECONDS = 1.7
"""After so long a stop is forced: a pod's owner may count on 2 s."""

BACKEND_CLOSE_SECONDS = 0.5

PATIENCE_SECONDS = 1.0
"""How long the first answer is waited for before the start is logged without it."""

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
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        # What was made up to here lives as long as the process: later collections skip it.
        gc.freeze()
        async with _entered(backend):
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(health.run)
                    tasks.start_soon(_announce, settings, health)
                    tasks.start_soon(_register_when_listed, registration, listings)
                    await _obey(signals, health, registration)
                    _end_at_the_latest(endpoint)
                    tasks.cancel_scope.cancel()
            finally:
                await endpoint.close()
    _log.info("stopped")


@asynccontextmanager
async def _entered(backend: TeeBackend) -> AsyncIterator[None]:
    """Open the backend, and close it without letting it keep us or its errors hide ours."""
    await backend.__aenter__()
    try:
        yield
    finally:
        try:
            with anyio.move_on_after(BACKEND_CLOSE_SECONDS, shield=True):
                await backend.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - a backend's bug is not to be the plugin's end
            _log.error("backend_not_closed", error=error)


def _end_at_the_latest(endpoint: Endpoint) -> None:
    """Have the process end in time even where a backend's thread or query can't be ended."""

    def end() -> None:
        if endpoint.in_place:
            endpoint.path.unlink(missing_ok=True)
        _log.warning("stopped_by_force", cure="the backend kept the plugin: see what it waits for")
        os._exit(0)

    timer = threading.Timer(END_SECONDS, end)
    timer.daemon = True
    timer.start()


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


async def _announce(settings: Settings, health: Health) -> None:
    """Say what was started: once the settings are known to fit the TEE, or it takes its time."""
    with anyio.move_on_after(PATIENCE_SECONDS):
        await health.answered.wait()
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
