"""Connects DRA mode with the poller. Imported in that mode only, with the API client."""

from teeplugin import __version__
from teeplugin.config.settings import Settings
from teeplugin.dra.holders import ClaimHolders
from teeplugin.dra.parts import DraParts
from teeplugin.dra.resources import Offer, Traits, offer_of
from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.policy.device_list import IdSet
from teeplugin.tee.guard import read_flavour
from teeplugin.tee.poller import TeePoller
from teeplugin_backends.base import TeeBackend

__all__ = ["ClaimHolders", "assemble_dra"]


def assemble_dra(
    settings: Settings,
    backend: TeeBackend,
    poller: TeePoller,
    pod_resources: PodResourcesClient,
    holders: ClaimHolders,
) -> DraParts:
    """Make the parts, none of which does anything yet."""

    def offer() -> Offer | None:
        allocated = pod_resources.allocated or IdSet()
        return offer_of(poller.decision, settings.unit_bytes, len(allocated))

    def traits() -> Traits:
        """Known from a reading on, so read at each publication."""
        return Traits(
            flavour=read_flavour(backend),
            # By the hook of the CDI specification, which the plugin looks at with cdi: on only.
            enforced=settings.cdi == "on" and poller.limited_containers > 0,
            versions={"plugin": __version__, **backend.versions()},
            most_containers=poller.limited_containers or None,
        )

    return DraParts(
        kubelet_dir=settings.kubelet_root_dir,
        node_name=settings.node,
        unit_bytes=settings.unit_bytes,
        fault_effect=settings.fault_effect,
        traits=traits,
        holders=holders,
        offer=offer,
        decided=poller.decided,
        on_prepared=pod_resources.add_allocated,
    )
