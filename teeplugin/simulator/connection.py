"""The kubelet's side of one plugin: dial, options, the watch, Allocate. Called by the kubelet.

All calls share one connection. Once closed it is never dialled again: only a new Register helps.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import anyio
from anyio import to_thread
from grpclib.client import Channel
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from teeplugin.api.deviceplugin.v1beta1 import (
    AllocateRequest,
    AllocateResponse,
    ContainerAllocateRequest,
    ContainerPreferredAllocationRequest,
    DevicePluginOptions,
    DevicePluginStub,
    Empty,
    PreferredAllocationRequest,
    PreStartContainerRequest,
)
from teeplugin.simulator.profile import Profile
from teeplugin.simulator.sockets import set_reading
from teeplugin.simulator.wire import (
    DeviceList,
    LimitedCodec,
    MalformedMessageError,
    RawDeviceList,
    parse_device_list,
)

_PARSED_IN_PLACE_BYTES = 65_536
"""A longer list is parsed in a thread, so that other plugins' calls don't wait for it."""

_CALL_ERRORS = (
    GRPCError,
    StreamTerminatedError,
    OSError,
    TimeoutError,
    MalformedMessageError,
    AssertionError,  # grpclib's, where the peer closes in the middle of a message
    AttributeError,  # grpclib's, where the peer closes between accepting and the first call
)


class PluginCallError(Exception):
    """A call to the plugin failed; the text is the one grpc-go would give."""


class _LocalChannel(Channel):
    """A channel that names its peer as grpc-go does on a unix socket."""

    def _get_authority(self, host: str, port: int) -> str:
        del host, port
        return "localhost"

    def freeze(self, *, frozen: bool) -> None:
        """Read nothing that the peer sends, or read on."""
        if self._protocol is not None and hasattr(self._protocol, "connection"):
            set_reading(self._protocol.connection._transport, not frozen)  # noqa: SLF001 - no other way


class PluginClient:
    """One registration's connection to its plugin."""

    def __init__(self, resource: str, endpoint: str, directory: Path, profile: Profile) -> None:
        self.resource = resource
        self.endpoint = endpoint
        self.profile = profile
        self.closed = False
        self._channel = _LocalChannel(
            path=str(directory / endpoint), codec=LimitedCodec(profile.message_limit_bytes)
        )
        self._stub = DevicePluginStub(self._channel)

    async def connect(self) -> None:
        """Dial, again and again until the deadline."""
        cause: OSError | None = None
        with anyio.move_on_after(self.profile.dial_deadline_seconds):
            while True:
                try:
                    await self._channel.__connect__()
                except OSError as error:
                    cause = error
                    await anyio.sleep(self.profile.dial_retry_seconds)
                else:
                    return
        raise PluginCallError(
            f"failed to dial device plugin: context deadline exceeded: {self.endpoint}: {cause}"
        )

    async def options(self) -> DevicePluginOptions:
        """Ask for the options; there is no deadline, as in the kubelet."""
        try:
            return await self._stub.get_device_plugin_options(Empty())
        except _CALL_ERRORS as error:
            raise PluginCallError(
                f"failed to get device plugin options: {go_error_text(error)}"
            ) from error

    async def watch(self, received: Callable[[DeviceList], None]) -> str:
        """Hand each list to `received` until the stream ends; return why it did."""
        try:
            async with self._channel.request(
                "/v1beta1.DevicePlugin/ListAndWatch",
                Cardinality.UNARY_STREAM,
                Empty,
                RawDeviceList,
            ) as stream:
                await stream.send_message(Empty(), end=True)
                while (raw := await stream.recv_message()) is not None:
                    if len(raw.data) <= _PARSED_IN_PLACE_BYTES:
                        received(parse_device_list(raw.data))
                    else:
                        received(await to_thread.run_sync(parse_device_list, raw.data))
        except Exception as error:  # noqa: BLE001 - whatever breaks the stream ends it, with a text
            return go_error_text(error)
        return "EOF"

    async def allocate(self, ids: Collection[str]) -> AllocateResponse:
        """Allocate for one container; there is no deadline, as in the kubelet."""
        request = AllocateRequest(
            container_requests=[ContainerAllocateRequest(devices_i_ds=list(ids))]
        )
        try:
            return await self._open_stub().allocate(request)
        except _CALL_ERRORS as error:
            raise PluginCallError(go_error_text(error)) from error

    async def preferred(self, available: Collection[str], units: int) -> list[str]:
        """Ask which of the available ids the plugin would rather give."""
        request = PreferredAllocationRequest(
            container_requests=[
                ContainerPreferredAllocationRequest(
                    available_deviceIDs=list(available), allocation_size=units
                )
            ]
        )
        try:
            response = await self._open_stub().get_preferred_allocation(request)
        except _CALL_ERRORS as error:
            raise PluginCallError(
                f"device plugin GetPreferredAllocation rpc failed with err: {go_error_text(error)}"
            ) from error
        return response.container_responses[0].device_i_ds if response.container_responses else []

    async def pre_start(self, ids: Collection[str]) -> None:
        """Tell the plugin that a container with these ids is about to start."""
        try:
            await self._open_stub().pre_start_container(
                PreStartContainerRequest(devices_i_ds=list(ids)),
                timeout=self.profile.pre_start_deadline_seconds,
            )
        except _CALL_ERRORS as error:
            raise PluginCallError(
                f"device plugin PreStartContainer rpc failed with err: {go_error_text(error)}"
            ) from error

    def freeze(self, *, frozen: bool) -> None:
        """Read nothing that the plugin sends, or read on."""
        self._channel.freeze(frozen=frozen)

    def close(self) -> None:
        """Close the connection for good; a running watch ends."""
        if not self.closed:
            self.closed = True
            self._channel.close()

    def _open_stub(self) -> DevicePluginStub:
        if self.closed:
            raise PluginCallError(f"endpoint {self.endpoint} has been stopped")
        return self._stub


UNAVAILABLE = "rpc error: code = Unavailable"
"""How grpc-go's words for a connection that the other end closed begin."""


def go_error_text(error: Exception) -> str:
    """Word an error as grpc-go does, which is how it reaches a pod's status."""
    if isinstance(error, GRPCError):
        return f"rpc error: code = {_go_name(error.status)} desc = {error.message or ''}"
    if isinstance(error, TimeoutError):
        return "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    if isinstance(error, StreamTerminatedError | OSError | AssertionError | AttributeError):
        return f"{UNAVAILABLE} desc = error reading from server: EOF ({error})"
    return str(error) or type(error).__name__


def _go_name(status: Status) -> str:
    if status is Status.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in status.name.split("_"))
