"""A kubelet that only serves Register, as a test wants it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from grpclib.server import Server

from teeplugin.api.deviceplugin import v1beta1


class Registry(v1beta1.RegistrationBase):
    """A kubelet's registration server that does with each call what the test says."""

    def __init__(self, answer: Callable[[], Awaitable[None]]) -> None:
        self.requests: list[v1beta1.RegisterRequest] = []
        self._answer = answer

    async def register(self, message: v1beta1.RegisterRequest) -> v1beta1.Empty:
        self.requests.append(message)
        await self._answer()
        return v1beta1.Empty()


@asynccontextmanager
async def registry(path: Path, answer: Callable[[], Awaitable[None]]) -> AsyncIterator[Registry]:
    kubelet = Registry(answer)
    server = Server([kubelet])
    path.unlink(missing_ok=True)
    await server.start(path=str(path))
    yield kubelet
    server.close()
    # From Python 3.12 on it waits for the clients as well, and a plugin waits for an answer.
    with anyio.move_on_after(1):
        await server.wait_closed()


def said(logs: list[Any], event: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == event]
