"""What is known of the registration: for telemetry, and as log lines, each reason once."""

from pathlib import Path
from typing import NamedTuple

import anyio

from teeplugin.logs.setup import get_logger

_log = get_logger()


class NotRegistered(NamedTuple):
    """Why we are not registered; `may_pass` where the next moment may be different."""

    reason: str
    error: str = ""
    may_pass: bool = False


def no_directory(directory: Path) -> str:
    """Say, in the log and in doctor, that the kubelet's directory is missing."""
    return f"there is no directory {directory}"


def no_socket(socket: Path) -> str:
    """Say, in the log and in doctor, that the kubelet's socket is missing."""
    return f"there is no {socket}"


class RegistrationStatus:
    """The `not_registered_reason` in words, None while we are registered, and counts.

    `registrations` succeeded, `failures` are tries that did not; `registered_once` is set by the
    first success.
    """

    def __init__(self) -> None:
        self.not_registered_reason: str | None = (
            "the TEE has not answered yet, so there is nothing to register"
        )
        self.registrations = 0
        self.failures = 0
        self.registered_once = anyio.Event()
        self._logged_reasons: set[str] = set()

    def registered(self, resource_name: str, socket: str, seconds: float) -> None:
        """Note a success, which took so many seconds from the call to the kubelet's stream."""
        _log.info(
            "registered",
            resource=resource_name,
            socket=socket,
            milliseconds=round(seconds * 1000, 1),
        )
        self._logged_reasons.clear()
        self.not_registered_reason = None
        self.registrations += 1
        self.registered_once.set()

    def lost(self, reason: str, seconds: float) -> None:
        """Note that a registration was lost that held for so many seconds."""
        self.not_registered_reason = reason
        _log.info("registering_again", reason=reason, registered_seconds=round(seconds, 1))

    def failed(self, why: NotRegistered) -> None:
        """Note a try that failed; each different reason is logged once until the next success."""
        self.failures += 1
        self.waiting(why)

    def waiting(self, why: NotRegistered) -> None:
        """Note what a try that has not failed is waiting for."""
        self.not_registered_reason = ": ".join(filter(None, (why.reason, why.error)))
        if why.reason not in self._logged_reasons:
            self._logged_reasons.add(why.reason)
            details = {"error": why.error} if why.error else {}
            _log.warning("not_registered", reason=why.reason, **details)
