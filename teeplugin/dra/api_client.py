"""The few requests to the API server that DRA needs, and what comes of them: an answer or ApiError.

The only module that imports lightkube. Objects are as JSON has them, so that no field is lost that
the client's models don't know.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, Final, TypeVar, cast

import anyio
import httpx2
from lightkube import ApiError as LightkubeError
from lightkube import AsyncClient, KubeConfig
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError as LightkubeConfigError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.types import PatchType

from teeplugin.dra.resources import DRIVER

CALL_SECONDS: Final = 10.0
"""For a request; an API server answers in milliseconds, and the kubelet waits 45 s for Prepare."""

WATCH_SECONDS: Final = 120
"""After so long the API server is to end a watch."""

WATCH_READ_SECONDS: Final = 150.0
"""Without an event a watch is begun anew after so long: its connection may be dead."""

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 401, 403, 404, 429

_SLICE = create_global_resource("resource.k8s.io", "v1", "ResourceSlice", "resourceslices")
_CLAIM = create_namespaced_resource("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims")
_NODE = create_global_resource("", "v1", "Node", "nodes")

_FIXES: Final = {
    _UNAUTHORIZED: "give the plugin's pod its ServiceAccount; outside a pod set KUBECONFIG",
    _FORBIDDEN: "apply the manifests of DRA mode, which have the ServiceAccount's rights",
    _NOT_FOUND: "use Kubernetes 1.36 or newer, which serves resource.k8s.io/v1",
    _TOO_MANY: "none: the API server is overloaded, and the plugin retries",
}
_AWAY = "check that the API server runs and is reachable from this node"

Json = dict[str, Any]
T = TypeVar("T")


class ApiError(Exception):
    """The API server gave no answer, or refused: what happened, and `fix`.

    `status` is its HTTP status, None where there was none; `retry_after_seconds` as it asks for.
    """

    def __init__(
        self,
        text: str,
        fix: str = _AWAY,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(text)
        self.fix = fix
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class ApiClient:
    """Asks the API server that the pod's service account, or KUBECONFIG, names.

    `configured` gives another one's configuration.
    """

    def __init__(self, configured: Callable[[], SingleConfig] | None = None) -> None:
        self._configured = configured or _from_environment
        self._client: AsyncClient | None = None

    async def node(self, name: str) -> Json:
        """Read a node."""
        return cast("Json", await self._call(lambda client: client.get(_NODE, name)))

    async def claim(self, namespace: str, name: str) -> Json:
        """Read a claim."""
        return cast(
            "Json",
            await self._call(lambda client: client.get(_CLAIM, name, namespace=namespace)),
        )

    async def resource_slice(self, name: str) -> Json | None:
        """Read a slice; None if there is none."""
        try:
            return cast("Json", await self._call(lambda client: client.get(_SLICE, name)))
        except ApiError as error:
            if error.status == _NOT_FOUND and isinstance(error.__cause__, LightkubeError):
                return None
            raise

    async def apply_slice(self, wanted: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Apply a slice on the server's side, and give what is stored then."""
        name = wanted["metadata"]["name"]
        return cast(
            "Json",
            await self._call(
                lambda client: client.patch(
                    _SLICE,
                    name,
                    dict(wanted),
                    patch_type=PatchType.APPLY,
                    field_manager=DRIVER,
                    force=True,
                    dry_run=dry_run,
                )
            ),
        )

    async def delete_slice(self, name: str) -> None:
        """Delete a slice, if it is there."""
        try:
            await self._call(lambda client: client.delete(_SLICE, name))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise

    async def slice_version(self, name: str) -> str:
        """Give the version from which a slice can be watched, also where there is none.

        Not the slice's own: of that the API server knows nothing any more after a restart.
        """

        async def version(client: AsyncClient) -> str:
            found = client.list(_SLICE, fields={"metadata.name": name})
            async for _ in found:
                pass  # the version is known once the list was read
            return found.resourceVersion

        return await self._call(version)

    async def slice_events(self, name: str, version: str) -> AsyncIterator[None]:
        """Yield after each change of a slice since this version; end once nothing comes any more.

        Raises:
            ApiError: the watch was refused or cut off.
        """
        with _translated():
            events = self._connected().watch(
                _SLICE,
                fields={"metadata.name": name},
                server_timeout=WATCH_SECONDS,
                resource_version=version,
            )
        async with aclosing(cast("Any", events)) as watch:
            while True:
                event = None
                # lightkube's watch has no time-out of its own, and reconnects silently.
                with anyio.move_on_after(WATCH_READ_SECONDS), _translated():
                    event = await anext(watch, None)
                if event is None:
                    return
                yield

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _call(self, request: Callable[[AsyncClient], Awaitable[T]]) -> T:
        with anyio.move_on_after(CALL_SECONDS), _translated():
            try:
                return await request(self._connected())
            except httpx2.TransportError:
                # The next request reads the certificate authority and the address anew.
                await self.close()
                raise
        raise ApiError(f"the API server gave no answer within {CALL_SECONDS:g} s")

    def _connected(self) -> AsyncClient:
        if self._client is None:
            self._client = AsyncClient(
                config=self._configured(),
                timeout=httpx2.Timeout(CALL_SECONDS),
                # No proxy of the environment stands between a pod and its API server.
                trust_env=False,
            )
        return self._client


def _from_environment() -> SingleConfig:
    return cast("SingleConfig", KubeConfig.from_env().get())


@contextmanager
def _translated() -> Iterator[None]:
    """Turn whatever the client raises into ApiError."""
    try:
        yield
    except ApiError:
        raise
    except Exception as error:
        raise _as_api_error(error) from error


def _as_api_error(error: Exception) -> ApiError:
    match error:
        case LightkubeError(status=status):
            code = status.code or 0
            retry_after_seconds = _retry_after(error.response)
            text = f"the API server answered {code} {status.reason or ''}: {status.message}"
            return ApiError(text, _FIXES.get(code, _AWAY), code, retry_after_seconds)
        case httpx2.HTTPStatusError(response=response):
            code = response.status_code
            text = f"the API server answered {code}: {response.reason_phrase}"
            return ApiError(text, _FIXES.get(code, _AWAY), code, _retry_after(response))
        case httpx2.TransportError():
            return ApiError(
                f"the API server can't be reached: {str(error) or type(error).__name__}"
            )
        case LightkubeConfigError() | KeyError() | OSError():
            text = f"there is no configuration for the API server: {error}"
            return ApiError(text, _FIXES[_UNAUTHORIZED])
        case _:
            text = f"the API server's answer can't be read: {type(error).__name__}: {error}"
            return ApiError(text, "find the server that answers at the API server's address")


def _retry_after(response: httpx2.Response | None) -> float | None:
    text = response.headers.get("retry-after", "") if response is not None else ""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None  # noqa: PLR2004 - a day
