"""gRPC over unix sockets, on grpclib: a server that bounds its clients and ends with itself.

Ours is behind the plugin's socket, the simulated kubelet's behind its own. Whoever reaches the
socket may do their worst: what grpclib and h2 leave unbounded is bounded here. Our own calls of
others go through `client`.
"""

from teeplugin.connections.calls import MOST_REQUEST_BYTES, REQUEST_SECONDS
from teeplugin.connections.server import MOST_CONNECTIONS, ConnectionServer
from teeplugin.connections.turns import pause

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path: sun_path has 108 with the closing zero."""

__all__ = [
    "LONGEST_SOCKET_PATH",
    "MOST_CONNECTIONS",
    "MOST_REQUEST_BYTES",
    "REQUEST_SECONDS",
    "ConnectionServer",
    "pause",
]
