"""A running plugin's parts without a plugin, with something to tell in each of them."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Literal

from teeplugin.config.settings import Settings
from teeplugin.daemon.parts import PluginParts, assemble
from teeplugin.policy.allocation_records import AllocationRecords, Holder
from teeplugin.policy.decide import Cause, Decision
from teeplugin.policy.device_list import DeviceList, DeviceListEncoder, IdSet, PublishedList
from teeplugin.policy.limits import Limits
from teeplugin.tee.poller import Observation
from teeplugin_backends.base import TeeMemory
from teeplugin_backends.simulated import SimulatedTee

UNIT_BYTES = 512 * 1024


class CountingTee(SimulatedTee):
    def versions(self) -> Mapping[str, str]:
        return {"tee-os": "iTrustee 2.1", "driver": "2.0"}

    def applications(self) -> Mapping[str, int]:
        return {"ours": 4096}

    def counters(self) -> Mapping[str, int]:
        return {"helper_killed": 2}


def running_parts(
    kubelet_dir: Path = Path("/nonexistent"), cdi: Literal["off", "on"] = "off"
) -> PluginParts:
    """The parts as they are before the first reading."""
    settings = Settings(backend="simulated", cdi=cdi).model_copy(
        update={"kubelet_dir": kubelet_dir}
    )
    return assemble(settings, CountingTee.from_options({}))


def running_in_dra_mode() -> PluginParts:
    """The parts of a plugin in DRA mode that has published and prepared."""
    settings = Settings(backend="simulated", serve="dra", node_name="node-1")
    parts = assemble(settings, CountingTee.from_options({}))
    assert parts.dra is not None
    memory = {"memory": {"value": "64Mi"}}
    device = {"name": "trustzone-0", "capacity": memory, "taints": [{"key": "by/hand"}]}
    parts.dra.publisher.stored = {"spec": {"devices": [device]}}
    return parts


def running_in_full() -> PluginParts:
    """The parts of a plugin of 128 units that two pods hold 13 of, whose TEE has failed since."""
    parts = running_parts(cdi="on")
    assert parts.limits is not None
    parts.poller.limited_containers = 63
    parts.limits.seen = Limits(limited=1, unset=1, unknown=2, reconciled=1_800_000_000)
    memory = TeeMemory(total_bytes=128 * UNIT_BYTES, free_bytes=95 * UNIT_BYTES)
    device_list = DeviceList(IdSet.first(128), unhealthy=IdSet.first(128))
    poller = parts.poller
    poller.decision = Decision(device_list, memory, cause=Cause("busy", "no session", "wait"))
    poller.observed = Observation(memory, allocated_units=13)
    poller.unallocated_use_min_bytes = 5 * UNIT_BYTES
    poller.queries.answered(None)
    poller.queries.answered("busy")
    parts.latest_list.set(PublishedList(device_list, DeviceListEncoder().encode(device_list)))
    holders = (
        Holder("default", "one", "ca", IdSet.first(10)),
        Holder("default", "one", "ca", IdSet.of([10])),  # a successor of the same name
        Holder("kube-system", "two", "ca", IdSet.of([11, 12])),
    )
    parts.pod_resources._records = AllocationRecords().read(holders, monotonic())
    parts.pod_resources.reads.count(ok=True)
    return parts
