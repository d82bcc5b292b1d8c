"""A client for the plugin's telemetry: http.client in a thread, as the test's loop must run on."""

import http.client
from dataclasses import dataclass

import anyio.to_thread

from tests.plugin_process import Plugin

ANY_PORT = "127.0.0.1:0"
"""To be given as --listen; `telemetry_of` tells which it was."""


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    text: str


async def get(address: str, path: str, method: str = "GET") -> Response:
    """Ask HOST:PORT for one page."""

    def ask() -> Response:
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request(method, path)
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Response(found.status, headers, found.read().decode())
        finally:
            connection.close()

    return await anyio.to_thread.run_sync(ask)


async def telemetry_of(plugin: Plugin) -> str:
    """Wait until a plugin serves its telemetry, and give the address."""
    return str((await plugin.logged("telemetry_listening"))["address"])
