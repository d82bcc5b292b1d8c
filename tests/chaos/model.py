"""What the plugin has to list once all faults are over, computed apart from the plugin's code."""

from dataclasses import dataclass

from tests.plugin_process import UNIT_BYTES


@dataclass
class Model:
    """The TEE as it is played, in units, and how many units pods hold."""

    total: int
    others: int = 0
    allocated: int = 0
    reserve: int = 0

    @property
    def healthy(self) -> int:
        """So many devices are healthy: all allocated ones, and as many others as are free.

        Below 256 units a step of the shortage is one unit, so there is no rounding.
        """
        free = max(0, self.total - self.others)
        listed = max(self.total - self.reserve, self.allocated)
        return self.allocated + min(listed - self.allocated, free)

    def as_played(self) -> dict[str, int]:
        """The same for the simulated TEE's state file, in bytes."""
        return {"total": self.total * UNIT_BYTES, "others": self.others * UNIT_BYTES}
