"""An API server in the test's own process: a node, claims, slices, a watch, and what may go wrong.

Plain HTTP/1.1 with h11. It knows nothing of validation; what the real one does to slices (times of
taints, fields of gates that are off) is done here.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User

from tests.dra_claims import POOL

Json = dict[str, Any]
_SLICES = "/apis/resource.k8s.io/v1/resourceslices"


class FakeApiServer:
    """What tests set: `status` to refuse with, `retry_after`, `away`, `gates_off`, `tokens`."""

    def __init__(self) -> None:
        self.slices: dict[str, Json] = {}
        self.claims: dict[str, Json] = {}
        self.nodes: dict[str, Json] = {POOL: node("uid-of-node-1")}
        self.status: int | None = None
        self.refuses_watches = False
        self.retry_after: str | None = None
        self.gates_off: set[str] = set()
        self.alters: Json = {}
        self.tokens: set[str] | None = None
        self.requests: list[str] = []
        self.port = 0
        self._version = 1
        self._oldest = 0
        self._history: list[tuple[int, Json]] = []
        self._watches: set[asyncio.Queue[Json | None]] = set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.watches_are_mute = False

    def configuration(self, token_file: str | None = None) -> SingleConfig:
        """How a client is led here."""
        return SingleConfig(
            context_name="test",
            context=Context(cluster="test"),
            cluster=Cluster(server=f"http://127.0.0.1:{self.port}"),
            user=User(token_file=token_file) if token_file else User(),
        )

    @property
    def publications(self) -> int:
        """How many slices were stored by clients."""
        return sum(each.startswith("PATCH") and "dryRun" not in each for each in self.requests)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._watches)

    def delete_slice(self, name: str) -> None:
        """Delete a slice as somebody else."""
        self._version += 1
        gone = deepcopy(self.slices.pop(name))
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell("DELETED", gone)

    def change_slice(self, name: str, change: Json) -> None:
        """Change the device of a slice as somebody else."""
        changed = deepcopy(self.slices[name])
        changed["spec"]["devices"][0].update(change)
        self._store(name, changed)

    def end_watches(self) -> None:
        """End all watches, as a server does after a while."""
        for queue in list(self._watches):
            self._watches.discard(queue)
            queue.put_nowait(None)

    def forget_versions(self) -> None:
        """Know nothing of what was before, as after a restart."""
        self._version += 1
        self._oldest = self._version

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything: nobody listens until `start`."""
        assert self._server is not None
        self._server.close()
        self.end_watches()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()
        while self._writers:  # noqa: ASYNC110 - until each of them has noticed
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, h11.RemoteProtocolError):
            pass  # a client that went away
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            request, body = None, b""
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65_536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.ConnectionClosed):
                    return
            assert request is not None
            await self._answer(request, body, connection, writer)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _answer(
        self, request: h11.Request, body: bytes, connection: Any, writer: asyncio.StreamWriter
    ) -> None:
        url = urlsplit(request.target.decode())
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        method = request.method.decode()
        self.requests.append(f"{method} {request.target.decode()}")
        headers = dict(request.headers)
        if query.get("watch") and not self._refusal(headers, watch=True):
            await self._watch(query, connection, writer)
            return
        code, answer = self._refusal(headers) or self._handle(method, url.path, query, body)
        content = json.dumps(answer).encode()
        fields = [("content-type", "application/json"), ("content-length", str(len(content)))]
        if self.retry_after:
            fields.append(("retry-after", self.retry_after))
        writer.write(connection.send(h11.Response(status_code=code, headers=fields)))
        writer.write(connection.send(h11.Data(data=content)))
        writer.write(connection.send(h11.EndOfMessage()))
        await writer.drain()

    def _refusal(
        self, headers: dict[bytes, bytes], *, watch: bool = False
    ) -> tuple[int, Json] | None:
        token = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if self.tokens is not None and token not in self.tokens:
            return _status(401, "Unauthorized", "the token is not valid")
        if self.status is not None or (watch and self.refuses_watches):
            return _status(self.status or 403, "Refused", "as the test says")
        return None

    def _handle(
        self, method: str, path: str, query: dict[str, str], body: bytes
    ) -> tuple[int, Json]:
        if path == _SLICES:
            wanted = query["fieldSelector"].partition("=")[2]
            items = [each for name, each in self.slices.items() if name == wanted]
            return 200, {"items": items, "metadata": {"resourceVersion": str(self._version)}}
        *parent, name = path.split("/")
        if "/".join(parent) != _SLICES:
            objects = self.nodes if path.startswith("/api/v1/nodes/") else self.claims
            found = objects.get(name)
            return (200, found) if found else _not_found(name)
        if method == "PATCH":
            return 200, self._applied(name, json.loads(body), store="dryRun" not in query)
        if name not in self.slices:
            return _not_found(name)
        found = self.slices[name]
        if method == "DELETE":
            self.delete_slice(name)
        return 200, found

    def _applied(self, name: str, wanted: Json, *, store: bool) -> Json:
        applied = deepcopy(wanted)
        uid = self.slices.get(name, {}).get("metadata", {}).get("uid", f"uid-{self._version}")
        applied["metadata"]["uid"] = uid
        device = applied["spec"]["devices"][0]
        device.update(self.alters)
        for taint in device.get("taints", ()):
            taint.setdefault("timeAdded", f"2026-11-29T12:00:{self._version:02}Z")
        if "DRADeviceTaints" in self.gates_off:
            device.pop("taints", None)
        if "DRAConsumableCapacity" in self.gates_off:
            device.pop("allowMultipleAllocations", None)
            device["capacity"]["memory"].pop("requestPolicy", None)
        if store:
            self._store(name, applied)
        return applied

    def _store(self, name: str, stored: Json) -> None:
        self._version += 1
        stored["metadata"]["resourceVersion"] = str(self._version)
        kind = "MODIFIED" if name in self.slices else "ADDED"
        self.slices[name] = stored
        self._tell(kind, stored)

    def _tell(self, kind: str, stored: Json) -> None:
        if self.watches_are_mute:
            return
        event = {"type": kind, "object": stored}
        self._history.append((self._version, event))
        for queue in self._watches:
            queue.put_nowait(event)

    async def _watch(
        self, query: dict[str, str], connection: Any, writer: asyncio.StreamWriter
    ) -> None:
        queue: asyncio.Queue[Json | None] = asyncio.Queue()
        since = int(query["resourceVersion"])
        if since < self._oldest:
            status = _status(410, "Expired", "too old resource version")[1]
            queue.put_nowait({"type": "ERROR", "object": status})
            queue.put_nowait(None)
        for version, event in self._history:
            if version > since:
                queue.put_nowait(event)
        self._watches.add(queue)
        fields = [("content-type", "application/json"), ("transfer-encoding", "chunked")]
        try:
            writer.write(connection.send(h11.Response(status_code=200, headers=fields)))
            await writer.drain()
            while (told := await queue.get()) is not None:
                line = json.dumps(told).encode() + b"\n"
                writer.write(connection.send(h11.Data(data=line)))
                await writer.drain()
            writer.write(connection.send(h11.EndOfMessage()))
        finally:
            self._watches.discard(queue)


def node(uid: str, runtime: str = "containerd://2.4.2") -> Json:
    """A node's object."""
    return {
        "metadata": {"name": POOL, "uid": uid},
        "status": {"nodeInfo": {"containerRuntimeVersion": runtime, "kubeletVersion": "v1.36.3"}},
    }


def _status(code: int, reason: str, message: str) -> tuple[int, Json]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message}


def _not_found(name: str) -> tuple[int, Json]:
    return _status(404, "NotFound", f"{name} not found")


@asynccontextmanager
async def api_server() -> AsyncIterator[FakeApiServer]:
    """A server that listens while this is entered."""
    server = FakeApiServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
