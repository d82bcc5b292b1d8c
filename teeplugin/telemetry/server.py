"""Serves metrics, liveness and readiness at the address that was chosen."""

import errno
import json
import os
import socket
from collections.abc import Callable
from http import HTTPStatus

import anyio

from teeplugin.config.validators import EVERYWHERE, split_address
from teeplugin.daemon.parts import PluginParts
from teeplugin.logs.setup import get_logger
from teeplugin.primitives.threads import in_a_thread
from teeplugin.telemetry import probes
from teeplugin.telemetry.http_server import Answer, HttpServer, Page
from teeplugin.telemetry.status_page import status_of

RETRY_SECONDS = 5.0
"""How often a taken address is tried again: an older instance that is leaving frees it."""

_NOT_OURS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

_log = get_logger()


async def serve(address: str, parts: PluginParts) -> None:
    """Serve until cancelled; while the address can't be had, say so once and try again."""
    listeners = await _listeners(address)
    try:
        for listener in listeners:
            _log.info("telemetry_listening", address=_askable(listener), listen=address)
        await HttpServer(_pages(parts)).serve(listeners)
    finally:
        for listener in listeners:
            listener.close()


def _pages(parts: PluginParts) -> dict[str, Page]:
    scrape: Callable[[], Answer] | None = None

    async def measured() -> Answer:
        nonlocal scrape
        if scrape is None:
            scrape = await in_a_thread(_load_metrics, parts)
        return scrape()

    async def livez() -> Answer:
        return _probed(await probes.live(parts), "livez")

    async def readyz() -> Answer:
        return _probed(await probes.ready(parts), "readyz")

    async def status() -> Answer:
        text = json.dumps(status_of(parts), indent=2) + "\n"
        return Answer(HTTPStatus.OK, text.encode(), "application/json")

    return {"/metrics": measured, "/livez": livez, "/readyz": readyz, "/status": status}


def _load_metrics(parts: PluginParts) -> Callable[[], Answer]:
    """Load the Prometheus client, 2.5 MiB that a plugin which nobody scrapes doesn't need."""
    from teeplugin.telemetry.metrics import CONTENT_TYPE, Metrics  # noqa: PLC0415 - see above

    metrics = Metrics(parts)
    return lambda: Answer(HTTPStatus.OK, metrics.exposition(), CONTENT_TYPE)


def _probed(checks: probes.Checks, name: str) -> Answer:
    well, text = probes.report(checks, name)
    return Answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, text.encode())


async def _listeners(address: str) -> list[socket.socket]:
    """Listen at each address that the host's name has, as soon as all can be had."""
    told = ""
    while True:
        try:
            return await _listen(address)
        except OSError as error:
            problem = _words(error)
            if problem != told:
                _log.warning(
                    "telemetry_unavailable",
                    address=address,
                    error=problem,
                    effect="no metrics and probes; the rest of the plugin works, and it retries",
                    fix="give another address with --listen, or stop what listens there",
                )
            told = problem
        await anyio.sleep(RETRY_SECONDS)


async def _listen(address: str) -> list[socket.socket]:
    """Listen at the addresses of the host's name that are this machine's, or at all, as Go does.

    Raises:
        OSError: none of them can be had, or one that is this machine's can't.
    """
    host, port = split_address(address)
    if host in EVERYWHERE:
        if socket.has_dualstack_ipv6():
            return [socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)]
        return [socket.create_server(("", port))]
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    listeners: list[socket.socket] = []
    lacking: OSError | None = None
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            try:
                listeners.append(socket.create_server(where[:2], family=family))
            except OSError as error:
                # A name like localhost has an IPv6 address even where IPv6 is off.
                if error.errno not in _NOT_OURS:
                    raise
                lacking = error
        if lacking and not listeners:
            raise lacking
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _words(error: OSError) -> str:
    """Say what happened, without the address that socket.create_server adds."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _askable(listener: socket.socket) -> str:
    """Give the address to ask at on this machine: of all addresses the loopback's."""
    host, port = listener.getsockname()[:2]
    if host in ("::", "0.0.0.0"):  # noqa: S104 - nothing is bound here
        host = "127.0.0.1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
