"""Registers the plugin with the kubelet, notices when it forgets, and registers again.

Registered means: the ListAndWatch stream that the kubelet opened for our Register call is alive.
Every round looks at what is there now (kubelet's socket, our socket, the directory), so whatever
happened, in whatever order, ends in the same few states.
"""

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import anyio

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.device_plugin_service import OPTIONS
from teeplugin.kubelet.directory_watch import (
    DirectoryWatch,
    FileIdentity,
    file_identity,
    is_dead_mount,
    is_missing,
)
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.grpc_client import CallRefused, CallTimedOut, NoAnswer, call
from teeplugin.kubelet.watch_streams import WatchStream, WatchStreams
from teeplugin.logs.setup import get_logger
from teeplugin.primitives.signal import Signal

API_VERSION = "v1beta1"
_REGISTER = "/v1beta1.Registration/Register"

FIRST_BACK_OFF_SECONDS = 0.05
"""Between bind and listen of a starting kubelet lie milliseconds; grpc's own second costs pods."""

LONGEST_BACK_OFF_SECONDS = 5.0

LOOK_SECONDS = 5.0
"""How often everything is looked at even if nothing seems to have happened, as when another plugin
is killed and leaves its socket."""

LISTEN_SECONDS = 1.0
"""How often it is tried to listen in a directory that is there."""

REGISTER_SECONDS = 15.0
"""The kubelet dials us during Register for at most 10 s; after this it is taken for hung."""

FRESH_SECONDS = 10.0
"""How long a kubelet's new socket may refuse dials before the tries become rarer."""

STEADY_SECONDS = 1.0
"""A registration that held this long was a good one: the next one is not delayed."""

_log = get_logger()


class DirectoryLostError(Exception):
    """Our mount of the kubelet's directory is dead: the fix is a restart of the pod."""


class _NotRegistered(NamedTuple):
    """Why we are not registered; `may_pass` where the next moment may be different."""

    reason: str
    error: str = ""
    may_pass: bool = False


class _Registered(NamedTuple):
    """A registration that holds: the kubelet's stream, and its socket as it was then.

    Streams don't say whose they are. If others were opened meanwhile, the end of any of them
    counts as the kubelet's: registering once too often is better than never.
    """

    streams: tuple[WatchStream, ...]
    kubelet: FileIdentity
    began: float


class Registration:
    """Keeps one resource registered with the kubelet whose directory is `directory`.

    For telemetry: the `not_registered_reason`, in words, while we are not registered, None while we
    are; how often we were registered and how often a try failed; `registered_once` is set by the
    first.
    """

    def __init__(
        self,
        *,
        directory: Path,
        resource_name: str,
        endpoint: Endpoint,
        watch_streams: WatchStreams,
    ) -> None:
        self._kubelet_socket = directory / "kubelet.sock"
        self._directory = directory
        self._resource_name = resource_name
        self._endpoint = endpoint
        self._watch_streams = watch_streams
        self._renewal = Signal()
        self._renewed = 0
        self._logged_reasons: set[str] = set()
        self.not_registered_reason: str | None = (
            "the TEE has not answered yet, so there is nothing to register"
        )
        self.registrations = 0
        self.failures = 0
        self.registered_once = anyio.Event()
        self._back_off_seconds = 0.0
        self._kubelet: FileIdentity | None = None
        self._kubelet_since = 0.0

    def renew(self) -> None:
        """Register again though nothing is wrong, as SIGHUP asks."""
        self._renewal.set()

    @property
    def _asked(self) -> bool:
        """Whether it was asked since the last Register call began."""
        return self._renewal.count != self._renewed

    async def _wait_until_asked(self) -> None:
        await self._renewal.after(self._renewed)

    async def run(self) -> None:
        """Register, hold, and begin again, until cancelled.

        Raises:
            DirectoryLostError: the directory's mount is dead.
        """
        async with DirectoryWatch(self._directory) as watch:
            while True:
                kubelet = self._look_for_kubelet()
                outcome: _Registered | _NotRegistered | None = await self._make_ready(kubelet)
                was_in_place = self._endpoint.in_place
                if outcome is None and kubelet is not None:
                    outcome = await self._register(kubelet, watch)
                if isinstance(outcome, _Registered):
                    await self._hold(outcome, watch)
                elif outcome is not None:
                    self._log_reason(outcome)
                    await self._wait_for_change(outcome, watch, was_in_place=was_in_place)

    def _look_for_kubelet(self) -> FileIdentity | None:
        """Identify the kubelet's socket; a new one begins with fresh patience."""
        kubelet = file_identity(self._kubelet_socket)
        if kubelet != self._kubelet:
            self._kubelet, self._kubelet_since = kubelet, monotonic()
            self._back_off_seconds = 0.0
        return kubelet

    async def _make_ready(self, kubelet: FileIdentity | None) -> _NotRegistered | None:
        """Have our socket listen in the directory as it is now; else say what is in the way."""
        if await is_dead_mount(self._directory):
            raise DirectoryLostError(
                f"{self._directory} was deleted and made again, and this mount of it is dead: "
                "restart the plugin's pod, it mounts the new one"
            )
        if is_missing(self._directory):
            return _NotRegistered(f"there is no directory {self._directory}: the kubelet makes it")
        if not self._endpoint.in_place:
            try:
                await self._endpoint.open()
            except OSError as error:
                return _NotRegistered(
                    f"can't listen on {self._endpoint.path}", str(error), may_pass=True
                )
        if kubelet is None:
            return _NotRegistered(f"there is no {self._kubelet_socket}: waiting for the kubelet")
        return None

    async def _register(
        self, kubelet: FileIdentity, watch: DirectoryWatch
    ) -> _Registered | _NotRegistered:
        """Register, unless the kubelet's socket or ours goes meanwhile."""
        self._renewed = self._renewal.count
        outcome: _Registered | _NotRegistered = _NotRegistered(
            "a socket went while the kubelet was registering us", may_pass=True
        )

        async def try_once() -> None:
            nonlocal outcome
            outcome = await self._try_to_register(kubelet)

        async def be_overtaken() -> None:
            # A kubelet that dies with our call in its hands may leave it unanswered.
            while file_identity(self._kubelet_socket) == kubelet and self._endpoint.in_place:
                await watch.changed()

        await _first_of(math.inf, try_once, be_overtaken)
        return outcome

    async def _try_to_register(self, kubelet: FileIdentity) -> _Registered | _NotRegistered:
        """Call Register and await the kubelet's stream; else say what went wrong."""
        began, serial = monotonic(), self._watch_streams.last_serial
        try:
            await self._call_register()
            with anyio.fail_after(began + REGISTER_SECONDS - monotonic()):
                streams = await self._watch_streams.opened_after(serial)
        except CallTimedOut:
            return _NotRegistered(
                f"the kubelet didn't answer Register within {REGISTER_SECONDS:.0f} s"
            )
        except TimeoutError:
            return _NotRegistered(
                f"the kubelet opened no ListAndWatch stream within {REGISTER_SECONDS:.0f} s"
            )
        except CallRefused as error:
            return _NotRegistered("the kubelet refused the registration", str(error))
        except NoAnswer as error:
            reason = f"the kubelet can't be reached at {self._kubelet_socket}"
            return _NotRegistered(reason, str(error), may_pass=True)
        _log.info(
            "registered",
            resource=self._resource_name,
            socket=self._endpoint.name,
            milliseconds=round((monotonic() - began) * 1000, 1),
        )
        self._logged_reasons.clear()
        self.not_registered_reason = None
        self.registrations += 1
        self.registered_once.set()
        return _Registered(streams, kubelet, monotonic())

    async def _call_register(self) -> None:
        request = v1beta1.RegisterRequest(
            version=API_VERSION,
            endpoint=self._endpoint.name,
            resource_name=self._resource_name,
            options=OPTIONS,
        )
        await call(self._kubelet_socket, _REGISTER, bytes(request), REGISTER_SECONDS)

    async def _hold(self, registered: _Registered, watch: DirectoryWatch) -> None:
        """Return when the registration is lost, our own streams ended and the reason logged."""
        ends = [stream.ended.wait for stream in registered.streams]
        while (reason := self._lost(registered)) is None:
            # An older instance that we overlapped may have been killed since.
            self._endpoint.tidy()
            if self._asked:
                # Asked again within a second: what was done for the first answers the second.
                await _first_of(STEADY_SECONDS, watch.changed, *ends)
            else:
                await _first_of(LOOK_SECONDS, watch.changed, self._wait_until_asked, *ends)
        # Ended here before the kubelet hears of a new registration: it would drop the new one.
        self._watch_streams.end_all()
        registered_seconds = monotonic() - registered.began
        self.not_registered_reason = reason
        _log.info(
            "registering_again", reason=reason, registered_seconds=round(registered_seconds, 1)
        )
        pause_seconds = _processing_seconds(registered)
        if registered_seconds >= STEADY_SECONDS:
            self._back_off_seconds = 0.0
        else:
            pause_seconds = max(pause_seconds, self._back_off_seconds)
            self._lengthen_back_off()
        deadline = monotonic() + pause_seconds
        while file_identity(self._kubelet_socket) == registered.kubelet:
            left_seconds = deadline - monotonic()
            if left_seconds <= 0:
                return
            await _first_of(left_seconds, watch.changed)

    def _lost(self, registered: _Registered) -> str | None:
        steady = monotonic() - registered.began >= STEADY_SECONDS
        if self._asked and steady:
            return "asked to"
        if file_identity(self._kubelet_socket) != registered.kubelet:
            return "the kubelet's socket is another one or gone"
        if not self._endpoint.in_place:
            return "our socket is gone"
        if any(stream.ended.is_set() for stream in registered.streams):
            return "the kubelet's stream ended"
        return None

    async def _wait_for_change(
        self, not_registered_reason: _NotRegistered, watch: DirectoryWatch, *, was_in_place: bool
    ) -> None:
        """Wait before the next try: with back-off, cut short by a change of a socket.

        What has changed since the try began is looked for first: the watch may have told of it
        then already, to a wait that was given up.
        """

        def changed() -> bool:
            kubelet = file_identity(self._kubelet_socket)
            return kubelet != self._kubelet or self._endpoint.in_place != was_in_place

        if self._kubelet is None or not was_in_place:
            # Being asked to register changes nothing here: there is nobody to ask.
            if not changed():
                # A disk that is emptied, or writable again, tells nobody.
                seconds = LISTEN_SECONDS if not_registered_reason.may_pass else LOOK_SECONDS
                await _first_of(seconds, watch.changed)
            return
        if not_registered_reason.may_pass and monotonic() - self._kubelet_since < FRESH_SECONDS:
            self._back_off_seconds = FIRST_BACK_OFF_SECONDS
        else:
            self._lengthen_back_off()
        deadline = monotonic() + self._back_off_seconds
        while not changed() and not self._asked:
            left_seconds = deadline - monotonic()
            if left_seconds <= 0:
                return
            await _first_of(left_seconds, watch.changed, self._wait_until_asked)

    def _lengthen_back_off(self) -> None:
        self._back_off_seconds = min(
            max(2 * self._back_off_seconds, FIRST_BACK_OFF_SECONDS), LONGEST_BACK_OFF_SECONDS
        )

    def _log_reason(self, not_registered_reason: _NotRegistered) -> None:
        """Log what is in the way, once for each different reason until registered again."""
        self.failures += 1
        self.not_registered_reason = ": ".join(
            filter(None, (not_registered_reason.reason, not_registered_reason.error))
        )
        if not_registered_reason.reason not in self._logged_reasons:
            self._logged_reasons.add(not_registered_reason.reason)
            details = {"error": not_registered_reason.error} if not_registered_reason.error else {}
            _log.warning("not_registered", reason=not_registered_reason.reason, **details)


def _processing_seconds(registered: _Registered) -> float:
    """How long the kubelet may still be busy with the last list that it was sent.

    Only after that does it look whether the list's stream has ended, and drops whoever is
    registered then. One that came meanwhile may be forgotten though its stream goes on: its units
    stay healthy for the kubelet when it has long ended. Seen with kubelet 1.36.3 after one of ten
    quick successions with 10,000 units.
    """
    return max(0.0, *(stream.processed_at - monotonic() for stream in registered.streams))


async def _first_of(seconds: float, *waits: Callable[[], Awaitable[object]]) -> None:
    """Return when the first of the waits does, or after `seconds`."""
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as tasks:

            async def wait(awaited: Callable[[], Awaitable[object]]) -> None:
                await awaited()
                tasks.cancel_scope.cancel()

            for awaited in waits:
                tasks.start_soon(wait, awaited)
