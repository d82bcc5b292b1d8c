"""The simulated TEE as scenarios and keys play it: kept here, told to the plugin by its state file.

The plugin's backend `simulated` reads the file again at every query.
"""

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
    def free_bytes(self) -> int:
        """What nobody uses."""
        return max(0, self.total_bytes - self.pods_bytes - self.others_bytes)

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

    def follow(self, fault: str | None) -> None:
        """Take note of a fault that the plugin logs: here it is one that is played."""

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
    """A TEE that a backend of the user's reads: what it said first, and what the plugin logs of it.

    Nothing of it can be played. Pods are taken to use what they asked for; `others_bytes` is what
    was used at the first reading.
    """

    is_played = False

    def __init__(self, memory: TeeMemory) -> None:
        super().__init__(Path(), memory.total_bytes)
        self.others_bytes = memory.total_bytes - memory.free_bytes

    def follow(self, fault: str | None) -> None:
        """Take note of a fault that the plugin logs, or of its end."""
        self.fault = fault or NO_FAULT

    def _write(self) -> None:
        """Tell nobody."""
