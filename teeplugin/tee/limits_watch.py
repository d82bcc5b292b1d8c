"""Follows which containers the TEE limits, as the hook and the host service record it.

The plugin can neither set nor clean a limit, as that takes root on the node: it only reports.
"""

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import anyio

from teeplugin.logs.setup import get_logger
from teeplugin.policy.limits import DIRECTORY, RECONCILED, SUMMARY, Limits, parse

LOOK_SECONDS = 5.0
"""How often the two small files are read."""

START_SECONDS = 60.0
"""After so long a container that holds units and has no record counts as one without a limit: until
then its image may still be pulled."""

_LARGEST_BYTES = 4096

_log = get_logger()


class LimitsWatch:
    """Keeps `seen` true to the node's records; None while they are not known or don't matter.

    `holders` gives how many containers hold units, or None while that is unknown; `most` how many
    the TEE can limit, 0 where it limits none or isn't known yet. `unrecorded` are containers that
    hold units and have had no record for `START_SECONDS`.
    """

    def __init__(
        self, host_root: Path, holders: Callable[[], int | None], most: Callable[[], int]
    ) -> None:
        self.seen: Limits | None = None
        self.problem: str | None = None
        self.unrecorded = 0
        self._directory = host_root / DIRECTORY.lstrip("/")
        self._holders = holders
        self._most = most
        self._lacking_since: float | None = None

    @property
    def most(self) -> int:
        """How many containers the TEE can limit."""
        return self._most()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            if self._most():
                self.look()
            await anyio.sleep(LOOK_SECONDS)

    def look(self, now: float | None = None) -> None:
        """Read the records, and log what has changed; `now` is a monotonic time."""
        try:
            seen = parse(self._read(SUMMARY), self._read(RECONCILED))
        except (OSError, ValueError) as error:
            self._unreadable(error)
            return
        if self.problem is not None:
            _log.info("limits_readable", directory=str(self._directory))
        before, self.seen, self.problem = self.seen or Limits(), seen, None
        self._report_unset(before.unset, seen)
        self._count_unrecorded(seen, monotonic() if now is None else now)

    def _read(self, name: str) -> str:
        """Give a file's text; none before the first hook."""
        try:
            with (self._directory / name).open(encoding="utf-8") as file:
                return file.read(_LARGEST_BYTES)
        except FileNotFoundError:
            return ""

    def _unreadable(self, error: OSError | ValueError) -> None:
        words = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if self.problem != words:
            _log.warning(
                "limits_unreadable",
                directory=str(self._directory),
                error=words,
                effect="the plugin does not know which containers the TEE limits",
                fix=f"in a container mount {DIRECTORY} of the node below --host-root, and run as "
                "root",
            )
        self.seen, self.problem = None, words

    def _report_unset(self, before: int, seen: Limits) -> None:
        if seen.unset > before:
            _log.warning(
                "limits_unset",
                containers=seen.unset,
                effect="a restart of the TEE removed their limits: they may use any amount of its "
                "memory",
                fix="set them again: systemctl start tee-limit; to see why tee-limit did not run: "
                "journalctl -u tee-limit",
            )
        elif before and not seen.unset:
            _log.info("limits_set", containers=seen.limited)

    def _count_unrecorded(self, seen: Limits, now: float) -> None:
        lacking = seen.unrecorded(self._holders() or 0)
        if not lacking:
            self._lacking_since, self.unrecorded = None, 0
            return
        if self._lacking_since is None:
            self._lacking_since = now
        if now - self._lacking_since < START_SECONDS:
            return
        if lacking > self.unrecorded:
            _log.warning(
                "containers_without_tee",
                containers=lacking,
                effect="they hold units and were never limited: their container runtime ignores "
                "CDI devices and gave them no TEE access, or they have not started",
                fix="use containerd 2, containerd 1.7 with CDI enabled, or CRI-O 1.23 or newer; "
                "or see why they have not started: kubectl describe pod",
            )
        self.unrecorded = lacking
