"""What differs between kubelets.

A profile is a frozen value; `dataclasses.replace(MODERN, listen_delay_seconds=0.2)` makes another.
"""

from dataclasses import dataclass

from teeplugin.policy.units import KUBELET_MESSAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kubelet's habits and timings."""

    version: str

    deletes_every_file: bool = False
    """At its start, every file but the checkpoint goes from device-plugins; else sockets only."""

    options_from_register: bool = False
    """Options are taken from Register, and GetDevicePluginOptions is never called."""

    answers_before_dialling: bool = False
    """Register is answered at once and the plugin dialled afterwards, so failures stay unseen."""

    serves_pod_resources: bool = True
    """v1.PodResourcesLister is served: since 1.20."""

    drops_newer_on_old_stream_end: bool = True
    """The race: an older stream's end disconnects the client that has registered since."""

    tells_clients_by_socket: bool = False
    """Clients are distinguished by socket, so that several serve one resource: since 1.37. A second
    Register with a socket that is connected is refused, and then neither is forgotten."""

    passes_cdi_devices: bool = True
    """CDI devices reach the runtime: since 1.29, before that only by a feature gate."""

    message_limit_bytes: int = KUBELET_MESSAGE_BYTES

    listen_delay_seconds: float = 0.0
    """Between bind() and listen() of kubelet.sock, while dialling it is refused."""

    dial_deadline_seconds: float = 10.0
    """How long a plugin's socket is tried during Register."""

    dial_retry_seconds: float = 1.0
    """The pause between two tries: grpc-go's first back-off."""

    pre_start_deadline_seconds: float = 30.0

    capacity_grace_seconds: float = 300.0
    """How long capacity outlives the plugin's stream."""

    sources_ready_seconds: float = 0.0
    """How long after a start PodResources lists no pod."""


MODERN = Profile(version="1.36")
"""A kubelet of 1.33 … 1.36."""

NEWEST = Profile(version="1.37", drops_newer_on_old_stream_end=False, tells_clients_by_socket=True)
"""A kubelet of 1.37: several instances of a plugin may serve one resource."""

OLD = Profile(
    version="1.18",
    deletes_every_file=True,
    options_from_register=True,
    answers_before_dialling=True,
    serves_pod_resources=False,
    passes_cdi_devices=False,
    drops_newer_on_old_stream_end=False,
)
"""A kubelet of 1.18: from before the plugin manager was rewritten and PodResources became v1."""
