"""v1beta1.Registration as the kubelet serves it: who registers, and what ends a registration."""

import asyncio
import re
import time
from collections.abc import Coroutine
from pathlib import Path

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from teeplugin.api.deviceplugin.v1beta1 import (
    DevicePluginOptions,
    Empty,
    RegisterRequest,
    RegistrationBase,
)
from teeplugin.simulator.connection import PluginCallError, PluginClient
from teeplugin.simulator.device_manager import DeviceManager, Resource
from teeplugin.simulator.events import EventKind, EventLog
from teeplugin.simulator.plugin_clients import ClientsBySocket
from teeplugin.simulator.profile import Profile
from teeplugin.simulator.wire import DeviceList

_API_VERSION = "v1beta1"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_RESOURCE_NAME = re.compile(
    rf"(?P<domain>{_LABEL}(\.{_LABEL})*)/(?P<name>[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)"
)
_LONGEST_DOMAIN, _LONGEST_NAME = 253 - len("requests."), 63


def is_extended_resource_name(name: str) -> bool:
    """Whether the kubelet takes a name: `vendor.domain/name`, and not one of Kubernetes' own."""
    match = _RESOURCE_NAME.fullmatch(name)
    return (
        match is not None
        and len(match["domain"]) <= _LONGEST_DOMAIN
        and len(match["name"]) <= _LONGEST_NAME
        and "kubernetes.io/" not in name
        and not name.startswith("requests.")
    )


class RegistrationService(RegistrationBase):
    """Dials whoever registers, and watches until its stream ends."""

    def __init__(
        self, directory: Path, profile: Profile, devices: DeviceManager, log: EventLog
    ) -> None:
        self._directory = directory
        self._profile = profile
        self._devices = devices
        self._log = log
        self._current: dict[str, PluginClient] = {}
        self._by_socket = ClientsBySocket()
        self._clients: set[PluginClient] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def register(self, message: RegisterRequest) -> Empty:
        """Answer once the plugin is connected, its options known and its watch begun."""
        refusal = _refusal(message)
        if refusal:
            self._refused(message, refusal)
            raise GRPCError(Status.UNKNOWN, refusal)
        if self._profile.answers_before_dialling:
            self._spawn(self._connect_unseen(message))
            return Empty()
        try:
            await self._connect(message)
        except PluginCallError as error:
            raise GRPCError(Status.UNKNOWN, str(error)) from error
        return Empty()

    def freeze(self, *, frozen: bool) -> None:
        """Read nothing that the plugins send, or read on."""
        for client in self._clients:
            client.freeze(frozen=frozen)

    async def end(self, *, abrupt: bool) -> None:
        """Close every plugin's connection; without `abrupt` the streams are reset first."""
        if abrupt:
            self._close_clients()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._close_clients()

    def _close_clients(self) -> None:
        for client in self._clients:
            client.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect_unseen(self, message: RegisterRequest) -> None:
        try:
            await self._connect(message)
        except PluginCallError:
            return  # in the event log already; this kubelet has answered Register before

    async def _connect(self, message: RegisterRequest) -> None:
        name = message.resource_name
        client = PluginClient(name, message.endpoint, self._directory, self._profile)
        self._clients.add(client)
        self._current[name] = client
        try:
            await client.connect()
            if self._profile.options_from_register:
                options = message.options or DevicePluginOptions()
            else:
                options = await client.options()
            if self._profile.tells_clients_by_socket:
                self._by_socket.connect(client)
        except BaseException as error:
            if self._current.get(name) is client:
                del self._current[name]
            self._drop(client)
            self._refused(message, str(error))
            raise
        book = self._devices.resources.setdefault(name, Resource())
        book.client, book.stopped_at = client, None
        book.preferred_allocation = options.get_preferred_allocation_available
        book.pre_start = options.pre_start_required
        self._log.record(EventKind.REGISTERED, resource=name, endpoint=client.endpoint)
        self._spawn(self._watch(client))

    async def _watch(self, client: PluginClient) -> None:
        def received(devices: DeviceList) -> None:
            self._devices.listed(client.resource, devices)
            self._log.record(
                EventKind.LIST_RECEIVED,
                resource=client.resource,
                endpoint=client.endpoint,
                list_bytes=devices.message_bytes,
                healthy=len(devices.healthy),
                unhealthy=len(devices.ids) - len(devices.healthy),
            )

        try:
            reason = await client.watch(received)
        finally:
            self._drop(client)
        self._ended(client, reason)

    def _ended(self, client: PluginClient, reason: str) -> None:
        """The stream of `client` is over: the registration of its resource may be as well."""
        name = client.resource
        current = self._current.get(name)
        if self._profile.tells_clients_by_socket:
            if self._by_socket.disconnect(client):
                self._disconnected(name)
            elif left := self._by_socket.one_of(name):
                self._devices.resources[name].client = left
        elif current is client or (current and self._profile.drops_newer_on_old_stream_end):
            del self._current[name]
            # The kubelet looks its client up by the resource's name: it may be a newer one.
            current.close()
            self._disconnected(name)
        self._log.record(
            EventKind.STREAM_ENDED, resource=name, endpoint=client.endpoint, text=reason
        )

    def _disconnected(self, name: str) -> None:
        """Nobody serves the resource any more."""
        self._devices.disconnected(name, time.monotonic())
        asyncio.get_running_loop().call_later(self._profile.capacity_grace_seconds, self._log.wake)

    def _drop(self, client: PluginClient) -> None:
        client.close()
        self._clients.discard(client)

    def _refused(self, message: RegisterRequest, text: str) -> None:
        self._log.record(
            EventKind.REGISTRATION_REFUSED,
            resource=message.resource_name,
            endpoint=message.endpoint,
            text=text,
        )


def _refusal(message: RegisterRequest) -> str:
    # The parser takes a number for a text.
    if not all(
        isinstance(text, str) for text in (message.version, message.resource_name, message.endpoint)
    ):
        return "error unmarshalling request: version, resource_name and endpoint must be texts"
    if message.version != _API_VERSION:
        return (
            f'requested API version "{message.version}" is not supported by kubelet. '
            f'Supported version is ["{_API_VERSION}"]'
        )
    if not is_extended_resource_name(message.resource_name):
        return f'the ResourceName "{message.resource_name}" is invalid'
    if not message.endpoint or "/" in message.endpoint:
        return (
            f'failed to dial device plugin: the endpoint "{message.endpoint}" is no name of a '
            "socket in the device-plugins directory"
        )
    return ""
