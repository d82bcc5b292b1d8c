"""A kubelet to develop against, scenarios, a live view; never imported by the daemon."""

from teeplugin.simulator.admission import (
    Admission,
    AdmissionError,
    ContainerGrant,
    ContainerStartError,
)
from teeplugin.simulator.events import Event, EventKind
from teeplugin.simulator.kubelet import SimulatedKubelet
from teeplugin.simulator.profile import MODERN, NEWEST, OLD, Profile

__all__ = [
    "MODERN",
    "NEWEST",
    "OLD",
    "Admission",
    "AdmissionError",
    "ContainerGrant",
    "ContainerStartError",
    "Event",
    "EventKind",
    "Profile",
    "SimulatedKubelet",
]
