"""Whom a kubelet of 1.37 counts as connected, and how it loses count."""

from teeplugin.simulator.connection import PluginCallError, PluginClient


class ClientsBySocket:
    """The clients of each resource, by their sockets."""

    def __init__(self) -> None:
        self._connected: dict[str, dict[str, PluginClient]] = {}
        self._forgotten: set[PluginClient] = set()

    def connect(self, client: PluginClient) -> None:
        """Add a client.

        The kubelet handles an error by forgetting all clients with this socket: it then ignores
        that their streams end, so the socket stays connected for as long as the kubelet runs.

        Raises:
            PluginCallError: a client with this socket is connected.
        """
        connected = self._connected.setdefault(client.resource, {})
        if earlier := connected.get(client.endpoint):
            self._forgotten.add(earlier)
            raise PluginCallError(f"device plugin already connected: {client.endpoint}")
        connected[client.endpoint] = client

    def disconnect(self, client: PluginClient) -> bool:
        """Remove a client whose stream has ended; say whether it was its resource's last."""
        connected = self._connected[client.resource]
        if client in self._forgotten:
            return False
        del connected[client.endpoint]
        return not connected

    def one_of(self, resource: str) -> PluginClient | None:
        """Name one of the clients that are counted as connected."""
        return next(iter(self._connected[resource].values()), None)
