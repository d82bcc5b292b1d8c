"""Collects the evidence that the checks need, without changing anything.

The TEE is asked last: a backend that stops the process keeps nothing else from being seen.
"""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from teeplugin.commands.doctor.backend_query import ask
from teeplugin.commands.doctor.checkpoint import recorded_allocations
from teeplugin.commands.doctor.evidence import DirectorySeen, Evidence, Phase, SocketsSeen
from teeplugin.commands.doctor.kubelet_records import look_at_records
from teeplugin.commands.doctor.page import look_at_page
from teeplugin.commands.doctor.process import look_at_process
from teeplugin.config.settings import ConfigError, Settings
from teeplugin.config.sources import FlagValue, load
from teeplugin.kubelet.directory_safety import weakness_of
from teeplugin.kubelet.directory_watch import is_dead_mount
from teeplugin.kubelet.endpoint import ORIGINAL_SOCKET, socket_path_fits
from teeplugin.kubelet.permission import REFUSED, who_refuses
from teeplugin.kubelet.socket_probe import (
    ANSWER_SECONDS,
    GET_INFO_METHOD,
    OPTIONS_METHOD,
    connected,
    silence_of,
    state_of,
)
from teeplugin.policy import units
from teeplugin.policy.cdi import MOST_AMOUNTS
from teeplugin.policy.cdi_spec import Mismatch
from teeplugin.tee.cdi_check import Specification
from teeplugin.tee.entry_points import load_backend
from teeplugin.tee.poller import missing_below
from teeplugin_backends.base import TeeBackend


async def look_around(
    evidence: Evidence,
    flags: Sequence[FlagValue],
    environ: Mapping[str, str],
    reached: Callable[[Phase], None] = lambda _: None,
) -> None:
    """Fill the evidence, part by part, so that what was seen counts even if this never ends.

    `reached` is called for each phase but the last, whose end is the return.
    """
    evidence.preloaded = environ.get("LD_PRELOAD", "")
    settings = _look_at_settings(evidence, flags, environ)
    if settings is None:
        return
    reached(Phase.SETTINGS)
    backend = _look_at_backend(evidence, settings)
    evidence.sockets = sockets = _sockets(settings.registration_dir)
    evidence.process = look_at_process(sockets.pids, settings.resource_name)
    evidence.recorded = recorded_allocations(settings.device_plugins_dir, settings.resource_name)

    async def directory() -> None:
        path = settings.registration_dir
        seen = _directory(path)
        evidence.directory = replace(seen, is_dead_mount=await is_dead_mount(path))

    async def records() -> None:
        path = settings.pod_resources_socket
        evidence.records = await look_at_records(path, settings)

    async def page() -> None:
        evidence.page = await look_at_page(settings.listen)

    async def plugins() -> None:
        method = GET_INFO_METHOD if evidence.in_dra_mode else OPTIONS_METHOD
        found = {path: await silence_of(path, ANSWER_SECONDS, method) for path in sockets.live}
        silent = {path: silence for path, silence in found.items() if silence is not None}
        evidence.sockets = replace(sockets, silent=silent)

    async with anyio.create_task_group() as tasks:
        for look in (directory, records, page, plugins):
            tasks.start_soon(look)
    reached(Phase.NODE)
    if backend is not None:
        evidence.answer = await ask(backend, settings.host_root)
        paths = evidence.answer.host_paths or ()
        evidence.missing_paths = missing_below(settings.host_root, paths)
        if settings.cdi == "on":
            evidence.specification = _specification(evidence, settings)


def _specification(evidence: Evidence, settings: Settings) -> Mismatch | None:
    """Compare the CDI specification with what pods could ask for."""
    answer = evidence.answer
    if answer is None or answer.reading is None:
        return None
    capacity_bytes = units.capacity_bytes(answer.reading.total_bytes, evidence.reserve_bytes)
    asked = units.units_in(capacity_bytes, settings.unit_bytes)
    return Specification(settings.host_root).mismatch(
        min(asked, MOST_AMOUNTS), settings.unit_bytes, limited=bool(answer.limited_containers)
    )


def _look_at_settings(
    evidence: Evidence, flags: Sequence[FlagValue], environ: Mapping[str, str]
) -> Settings | None:
    try:
        evidence.loaded = loaded = load(flags, environ)
    except ConfigError as error:
        evidence.settings_problem = str(error)
        return None
    evidence.socket_path_fits = socket_path_fits(loaded.settings.device_plugins_dir)
    return loaded.settings


def _look_at_backend(evidence: Evidence, settings: Settings) -> TeeBackend | None:
    try:
        backend = load_backend(settings.backend, settings.backend_options)
    except ConfigError as error:
        evidence.backend_problem = str(error)
        return None
    evidence.backend_found, evidence.backend_simulated = True, backend.simulated
    return backend


def _directory(path: Path) -> DirectorySeen:
    try:
        status, weakness = path.stat(), weakness_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return DirectorySeen(path, is_missing=True)
    except OSError as error:
        refused_by = who_refuses(path) if error.errno in REFUSED else ""
        return DirectorySeen(path, problem=error.strerror or str(error), refused_by=refused_by)
    if not stat.S_ISDIR(status.st_mode):
        return DirectorySeen(path, problem="is no directory")
    is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    return DirectorySeen(
        path,
        is_writable=os.access(path, os.W_OK | os.X_OK),
        refused_by="" if is_read_only else who_refuses(path),
        weakness=weakness,
        mode=stat.S_IMODE(status.st_mode),
    )


def _sockets(directory: Path) -> SocketsSeen:
    plugins = {path: connected(path) for path in sorted(directory.glob("tee-ram-*.sock"))}
    original = directory / ORIGINAL_SOCKET
    return SocketsSeen(
        kubelet=state_of(directory / "kubelet.sock"),
        plugins={path: state for path, (state, _) in plugins.items()},
        pids=tuple(pid for _, pid in plugins.values() if pid is not None),
        original=original,
        original_state=state_of(original),
        refused_by=who_refuses(directory / "kubelet.sock"),
    )
