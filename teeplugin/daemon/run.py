"""Runs the parts of the plugin in one task group until a signal ends it."""

import asyncio
import gc
import importlib
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import TYPE_CHECKING

import anyio

from teeplugin import __version__
from teeplugin.config.settings import ConfigError, Settings
from teeplugin.daemon.outstanding import end_process, outstanding
from teeplugin.daemon.parts import PluginParts, assemble
from teeplugin.daemon.reload import Sources, warn_without_interval
from teeplugin.daemon.systemd import notify_systemd
from teeplugin.daemon.watchdog import watchdog
from teeplugin.kubelet.device_plugin_service import warm_up
from teeplugin.kubelet.endpoint import (
    LONGEST_SOCKET_PATH,
    Endpoint,
    remove_socket,
    socket_path_fits,
)
from teeplugin.kubelet.registration import DirectoryLostError
from teeplugin.logs.setup import get_logger
from teeplugin.primitives.threads import in_a_thread
from teeplugin.tee.entry_points import load_backend
from teeplugin.tee.node_events import NodeEvents
from teeplugin.tee.poller import TeePoller
from teeplugin_backends.base import CLOSE_SECONDS, TeeBackend

END_SECONDS = 1.7
"""After so long a stop is forced: a pod's owner may count on 2 s."""

LAST_LINE_SECONDS = 0.2
"""For the line that says what a forced stop didn't wait for, whose reader may be stuck."""

START_LOG_SECONDS = 1.0
"""How long the first answer is waited for before the start is logged without it."""

if TYPE_CHECKING:
    from teeplugin.dra.registration import DraRegistration

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = get_logger()


def run(settings: Settings, sources: Sources | None = None) -> int:
    """Be the device plugin until SIGTERM or SIGINT; the exit status for the process.

    With `sources` the settings are read again on SIGHUP and when their file changes.

    Raises:
        ConfigError: the settings don't fit this node; found out before anything is registered.
    """
    _check_socket_paths(settings)
    backend = load_backend(settings.backend, settings.backend_options)
    try:
        anyio.run(_serve, settings, sources, backend)
    except BaseExceptionGroup as group:
        return _explain(group)
    return 0


def _check_socket_paths(settings: Settings) -> None:
    directory = settings.device_plugins_dir
    if settings.serve == "dra":
        # The longer of the driver's two; the name of the driver is teeplugin.dra's.
        directory = settings.kubelet_root_dir / "plugins" / "tee-ram.huawei.com"
    if not socket_path_fits(directory):
        raise ConfigError(
            f"--kubelet-dir {settings.kubelet_dir}: a socket's path there would be over "
            f"{LONGEST_SOCKET_PATH} bytes, the limit of Linux: give a shorter directory"
        )


def _explain(group: BaseExceptionGroup[BaseException]) -> int:
    """Turn what ended the task group into an exit status, or raise it: the first is the cause."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, DirectoryLostError):
        raise error
    _log.critical("directory_lost", error=str(error))
    return 1


async def _serve(settings: Settings, sources: Sources | None, backend: TeeBackend) -> None:
    parts = assemble(settings, backend, sources)
    with anyio.open_signal_receiver(*_SIGNALS) as signals, watchdog(_SIGNALS):
        _end_in_time_when_asked(parts.endpoint)
        # What was made up to here lives as long as the process: later collections skip it.
        gc.freeze()
        gc.enable()
        _announce(settings, backend.simulated)
        async with _leaving(backend, parts.poller), _telemetry(settings, parts):
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(parts.poller.run)
                    tasks.start_soon(NodeEvents(backend, settings.host_root, parts.poller).run)
                    tasks.start_soon(_register, parts)
                    tasks.start_soon(parts.reloader.follow_file)
                    if parts.limits is not None:
                        tasks.start_soon(parts.limits.run)
                    tasks.start_soon(notify_systemd, parts.listed)
                    await _handle_signals(signals, parts)
                    parts.stopping.set()
                    tasks.cancel_scope.cancel()
            finally:
                await parts.endpoint.close()
                if parts.dra is not None:
                    await parts.dra.close()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _log.info("stopped")


@asynccontextmanager
async def _telemetry(settings: Settings, parts: PluginParts) -> AsyncIterator[None]:
    """Have metrics and probes served, from when the plugin is registered to the very end."""

    async def tell() -> None:
        with anyio.move_on_after(START_LOG_SECONDS):
            await parts.registration.status.registered_once.wait()
        try:
            # No part of the start: it takes a tenth of a second.
            server = await in_a_thread(importlib.import_module, "teeplugin.telemetry.server")
            await server.serve(settings.listen, parts)
        except Exception:  # noqa: BLE001 - pods go before figures: the rest of the plugin lives on
            _log.error("telemetry_bug", exc_info=True)

    async with anyio.create_task_group() as tasks:
        if settings.listen:
            tasks.start_soon(tell)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _leaving(backend: TeeBackend, poller: TeePoller) -> AsyncIterator[None]:
    """Leave the backend at the end, without letting it keep us or its errors hide ours."""
    try:
        yield
    finally:
        try:
            if poller.entered:
                with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                    await backend.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - a backend's bug is not to be the plugin's end
            _log.error("backend_not_closed", error=error)


def _end_in_time_when_asked(endpoint: "Endpoint | DraRegistration") -> None:
    """Have the process end in time even where a backend keeps the loop, a thread or a query.

    The loop learns of the signal all the same: C code writes to its socket before this runs.
    """
    loop = asyncio.get_running_loop()

    def asked(_number: int, _frame: FrameType | None) -> None:
        # Asked again while it ends, it would end by the signal. Held back before the timer's
        # thread is made, which takes this over.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        _exit_after_timeout(endpoint, loop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)
        signal.siginterrupt(number, False)


def _exit_after_timeout(
    endpoint: "Endpoint | DraRegistration", loop: asyncio.AbstractEventLoop
) -> None:
    """End the process after a while, and say what it waited for."""
    loops_thread = threading.get_ident()

    def end() -> None:
        if endpoint.in_place:
            remove_socket(endpoint.path)
        waits_for = outstanding(loop, loops_thread)

        def log() -> None:
            _log.warning(
                "shutdown_timed_out",
                waits_for=waits_for,
                effect="the process exits without waiting",
                fix="report it to the author of the code in waits_for",
            )

        end_process(0, log, LAST_LINE_SECONDS)

    timer = threading.Timer(END_SECONDS, end)
    timer.daemon = True
    timer.start()


async def _register(parts: PluginParts) -> None:
    """Register once there is a list: a node whose TEE never answered has nothing to offer.

    A DRA driver registers at once: pods that are deleted wait until it has unprepared their claims.
    """
    if parts.dra is not None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(parts.dra.run)
            tasks.start_soon(parts.registration.run)
        return
    await parts.listed()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(parts.registration.run)
        await parts.registration.status.registered_once.wait()
        warm_up()


async def _handle_signals(signals: AsyncIterator[signal.Signals], parts: PluginParts) -> None:
    """Return when asked to stop; ask and register again at each SIGHUP, as the original does.

    Before that the settings are read again.
    """
    async for number in signals:
        if number != signal.SIGHUP:
            _log.info("stopping", signal=number.name)
            return
        _log.info("reload_requested", signal=number.name)
        parts.reloader.reload()
        parts.poller.query_now()
        parts.registration.renew()


def _announce(settings: Settings, simulated: bool) -> None:
    """Say what is started, before anything of a backend's can keep or end it."""
    _log.info(
        "starting",
        version=__version__,
        resource=settings.resource_name,
        backend=settings.backend,
        precision_kb=settings.precision_kb,
        health_interval_seconds=settings.health_interval_seconds,
    )
    if simulated:
        _log.warning(
            "simulated_tee",
            effect="the listed units have no memory behind them: use this on test machines only",
        )
    warn_without_interval(settings)
