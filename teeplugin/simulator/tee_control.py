"""The simulated TEE as scenarios and keys play it: kept here, told to the plugin by its state file.

The plugin's backend `simulated` reads the file again at every query.
"""

from collections.abc import Mapping
from pathlib import Path

from teeplugin_backends.base import TEE_ERRORS, TeeMemory

NO_FAULT = "none"
FAULTS = (*(kind.kind for kind in TEE_ERRORS), "hang", "bug")
"""What the backend can play: every kind of TeeError, no answer at all, and a bug of its own."""


class PlayedTee:
    """Its memory in bytes, who uses it, and what it answers.

    `others_bytes` is used outside Kubernetes, `pods` maps pods to what their TAs use.
    """

    is_played = True

    def __init__(self, state: Path, total_bytes: int) -> None:
        self.state = state
        self.total_bytes = total_bytes
        self.others_bytes = 0
        self.pods: dict[str, int] = {}
        self.latency_seconds = 0.0
        self.fault = NO_FAULT
        self._write()

    @property
    def pods_bytes(self) -> int:
        """What the TAs of all pods use."""
        return sum(self.pods.values())

    @property
    def uses(self) -> Mapping[str, int] | None:
        """Who uses how many bytes; None while that isn't known."""
        free_bytes = max(0, self.total_bytes - self.pods_bytes - self.others_bytes)
        return {"pods": self.pods_bytes, "others": self.others_bytes, "free": free_bytes}

    def play(
        self,
        *,
        total_bytes: int | None = None,
        others_bytes: int | None = None,
        latency_seconds: float | None = None,
        fault: str | None = None,
    ) -> None:
        """Be so from the next query on; what isn't given stays as it is."""
        if total_bytes is not None:
            self.total_bytes = total_bytes
        if others_bytes is not None:
            self.others_bytes = others_bytes
        if latency_seconds is not None:
            self.latency_seconds = latency_seconds
        if fault is not None:
            self.fault = fault
        self._write()

    def follow(self, fault: str | None, memory: TeeMemory | None) -> None:
        """Take note of what the plugin logs of the TEE: here it is what is played."""

    def use(self, pod: str, size_bytes: int) -> None:
        """Have a pod's TAs use so much."""
        self.pods[pod] = size_bytes
        self._write()

    def release(self, pod: str) -> None:
        """Have a pod's TAs end."""
        self.pods.pop(pod, None)
        self._write()

    def _write(self) -> None:
        """Replace the file whole: the plugin may be reading it."""
        draft = self.state.with_suffix(".new")
        draft.write_text(
            f"total={self.total_bytes}\npods={self.pods_bytes}\nothers={self.others_bytes}\n"
            f"latency={self.latency_seconds}\nfault={self.fault}\n"
        )
        draft.replace(self.state)


class ReadTee(PlayedTee):
    """A TEE that a backend of the user's reads: what the plugin logs of it. Nothing is played.

    `total_bytes` is that of the first reading until the plugin has logged one.
    """

    is_played = False

    def __init__(self, memory: TeeMemory) -> None:
        super().__init__(Path(), memory.total_bytes)
        self._read: TeeMemory | None = None

    @property
    def uses(self) -> Mapping[str, int] | None:
        """What was used and free at the last reading; None before the first and during a fault."""
        if self._read is None or self.fault in FAULTS:
            return None
        used_bytes = self._read.total_bytes - self._read.free_bytes
        return {"used": used_bytes, "free": self._read.free_bytes}

    def follow(self, fault: str | None, memory: TeeMemory | None) -> None:
        """Take note of a fault that the plugin logs, of its last reading, and of its end."""
        self.fault, self._read = fault or NO_FAULT, memory
        if memory is not None:
            self.total_bytes = memory.total_bytes

    def _write(self) -> None:
        """Tell nobody."""
