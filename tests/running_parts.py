"""A running plugin's parts without a plugin, with something to tell in each of them."""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from teeplugin.config.settings import Settings
from teeplugin.daemon.parts import Running, assemble
from teeplugin.policy.decide import Cause, Judgement
from teeplugin.policy.device_list import FrameEncoder, IdSet, Inventory, Listing
from teeplugin.policy.holdings import Books, Holder
from teeplugin.tee.poller import Observation
from teeplugin_backends.base import TeeMemory
from teeplugin_backends.simulated import SimulatedTee

UNIT_BYTES = 512 * 1024


class CountingTee(SimulatedTee):
    def counters(self) -> Mapping[str, int]:
        return {"helper_killed": 2}


def running_parts(kubelet_dir: Path = Path("/nonexistent")) -> Running:
    """The parts as they are before the first reading."""
    settings = Settings(backend="simulated").model_copy(update={"kubelet_dir": kubelet_dir})
    return assemble(settings, CountingTee.from_options({}))


def running_in_full() -> Running:
    """The parts of a plugin of 128 units that two pods hold 13 of, whose TEE has failed since."""
    running = running_parts()
    memory = TeeMemory(total_bytes=128 * UNIT_BYTES, free_bytes=95 * UNIT_BYTES)
    inventory = Inventory(IdSet.first(128), unhealthy=IdSet.first(128))
    health = running.health
    health.judgement = Judgement(inventory, memory, cause=Cause("busy", "no session", "wait"))
    health.observed = Observation(memory, held_units=13)
    health.unheld_use_lowest_bytes = 5 * UNIT_BYTES
    health.queries.answered(None)
    health.queries.answered("busy")
    running.listings.set(Listing(inventory, FrameEncoder().encode(inventory)))
    holders = (
        Holder("default", "one", "ca", IdSet.first(10)),
        Holder("default", "one", "ca", IdSet.of([10])),  # a successor of the same name
        Holder("kube-system", "two", "ca", IdSet.of([11, 12])),
    )
    running.ledger._books = Books().read(holders, monotonic())
    running.ledger.reads.count(ok=True)
    return running
