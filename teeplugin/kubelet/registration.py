"""Registers the plugin with the kubelet, notices when it forgets, and registers again.

Registered means: the ListAndWatch stream that the kubelet opened for our Register call is alive.
Every round looks at what is there now (kubelet's socket, our socket, the directory), so whatever
happened, in whatever order, ends in the same few states.
"""

from pathlib import Path
from time import monotonic

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
from teeplugin.kubelet.grpc_client import call
from teeplugin.kubelet.register_call import RegisterCall
from teeplugin.kubelet.registration_status import (
    NotRegistered,
    RegistrationStatus,
    no_directory,
    no_socket,
)
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.primitives.signal import Signal
from teeplugin.primitives.waiting import first_of

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

SLOW_SECONDS = 15.0
"""The kubelet dials us for at most 10 s. After this a Register without an answer is logged and
waited for further; an answer without a stream is a failed registration."""

PENDING_SECONDS = 300.0
"""After this a call without an answer is given up. A kubelet whose device manager was locked has
answered after 50 s; each call that is repeated beside it would open another stream, for good."""

LOCKED_SECONDS = 120.0
"""How long an answer without a stream is waited for while the kubelet is connected: kubelets up to
1.24 answer first and may then wait for their device manager's lock."""

FRESH_SECONDS = 10.0
"""How long a kubelet's new socket may refuse dials before the tries become rarer."""

STEADY_SECONDS = 1.0
"""A registration that held this long was a good one: the next one is not delayed."""


class DirectoryLostError(Exception):
    """Our mount of the kubelet's directory is dead: the fix is a restart of the pod."""


async def missing_directory(directory: Path) -> NotRegistered | None:
    """Say that a directory of the kubelet's is not there; None if it is.

    Raises:
        DirectoryLostError: its mount is dead.
    """
    if await is_dead_mount(directory):
        raise DirectoryLostError(
            f"{directory} was deleted and created again, and this mount of it is dead: "
            "restart the plugin's pod to mount the new one"
        )
    if is_missing(directory):
        return NotRegistered(f"{no_directory(directory)}: start the kubelet, which creates it")
    return None


class Registration:
    """Keeps one resource registered with the kubelet whose directory is `directory`.

    For telemetry: the `status`.
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
        self._known_to: FileIdentity | None = None
        self.status = RegistrationStatus()
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
                reason = await self._make_ready(kubelet)
                was_in_place = self._endpoint.in_place
                if reason is None and kubelet is not None:
                    reason = await self._register_and_hold(kubelet, watch)
                if reason is not None:
                    self.status.failed(reason)
                    await self._wait_for_change(reason, watch, was_in_place=was_in_place)

    def _look_for_kubelet(self) -> FileIdentity | None:
        """Identify the kubelet's socket; a new one begins with fresh patience."""
        kubelet = file_identity(self._kubelet_socket)
        if kubelet != self._kubelet:
            self._kubelet, self._kubelet_since = kubelet, monotonic()
            self._back_off_seconds = 0.0
        return kubelet

    async def _make_ready(self, kubelet: FileIdentity | None) -> NotRegistered | None:
        """Have our socket listen in the directory as it is now; else say what is in the way."""
        if reason := await missing_directory(self._directory):
            return reason
        is_known = kubelet is not None and kubelet == self._known_to
        if is_known or not self._endpoint.in_place:
            try:
                await self._endpoint.open()
                self._known_to = None
            except OSError as error:
                return NotRegistered(
                    f"can't listen on {self._endpoint.path}", str(error), may_pass=True
                )
        if kubelet is None:
            return NotRegistered(f"{no_socket(self._kubelet_socket)}: waiting for the kubelet")
        return None

    async def _register_and_hold(
        self, kubelet: FileIdentity, watch: DirectoryWatch
    ) -> NotRegistered | None:
        """Register once, and hold the registration until it is lost; else say what went wrong.

        The next call to this kubelet names another socket. A kubelet from 1.37 on that counts a
        socket as connected refuses the same one, and after that for as long as it runs.
        """
        self._renewed = self._renewal.count
        async with anyio.create_task_group() as tasks:
            register = RegisterCall(self._watch_streams)
            tasks.start_soon(register.run, self._call_register)
            reason = await self._wait_for_stream(register, kubelet, watch)
            if reason is None:
                await self._hold(register, kubelet, watch)
            tasks.cancel_scope.cancel()
        self._known_to = kubelet if register.may_be_known else None
        return reason

    async def _wait_for_stream(
        self, register: RegisterCall, kubelet: FileIdentity, watch: DirectoryWatch
    ) -> NotRegistered | None:
        """Wait for the kubelet's stream, however long the call is pending."""
        while not register.streams:
            if file_identity(self._kubelet_socket) != kubelet or not self._endpoint.in_place:
                # A kubelet that dies before it answers may leave the call pending for ever.
                return NotRegistered("a socket disappeared during the registration", may_pass=True)
            if register.ended.is_set():
                if reason := self._failure(register):
                    return reason
            elif register.pending_seconds >= SLOW_SECONDS:
                self.status.waiting(
                    NotRegistered(
                        f"the kubelet has not answered Register within {SLOW_SECONDS:g} s: "
                        "waiting for it"
                    )
                )
            waits = [watch.changed, register.next_stream]
            if not register.ended.is_set():
                waits.append(register.ended.wait)
            await first_of(min(SLOW_SECONDS, LOOK_SECONDS), *waits)
        self._registered(register)
        return None

    def _failure(self, register: RegisterCall) -> NotRegistered | None:
        """Say what is wrong with a call that has ended; None while its stream may still come."""
        if register.is_refused:
            return NotRegistered("the kubelet refused the registration", str(register.error))
        if register.is_unanswered:
            return NotRegistered("the kubelet did not answer Register", str(register.error))
        if register.error is not None:
            reason = f"the kubelet can't be reached at {self._kubelet_socket}"
            return NotRegistered(reason, str(register.error), may_pass=True)
        is_connected = self._endpoint.has_client_since(register.began)
        seconds = LOCKED_SECONDS if is_connected else SLOW_SECONDS
        if monotonic() - register.ended_at >= seconds:
            return NotRegistered(
                "the kubelet answered Register but opened no ListAndWatch stream within "
                f"{seconds:g} s"
            )
        return None

    def _registered(self, register: RegisterCall) -> None:
        seconds = monotonic() - register.began
        self.status.registered(self._resource_name, self._endpoint.name, seconds)

    async def _call_register(self) -> None:
        request = v1beta1.RegisterRequest(
            version=API_VERSION,
            endpoint=self._endpoint.name,
            resource_name=self._resource_name,
            options=OPTIONS,
        )
        await call(self._kubelet_socket, _REGISTER, bytes(request), PENDING_SECONDS)

    async def _hold(
        self, register: RegisterCall, kubelet: FileIdentity, watch: DirectoryWatch
    ) -> None:
        """Return when the registration is lost, our own streams ended and the reason logged.

        Streams don't say whose they are. If others were opened during the call, the end of any of
        them counts as the kubelet's: registering once too often is better than never.
        """
        since = monotonic()
        while (reason := self._lost(register, kubelet, since)) is None:
            # An older instance that we overlapped may have been killed since.
            self._endpoint.tidy()
            waits = [watch.changed, *(stream.ended.wait for stream in register.streams)]
            if not register.ended.is_set():
                waits += [register.ended.wait, register.next_stream]
            if self._asked:
                # Asked again within a second: what was done for the first answers the second.
                await first_of(STEADY_SECONDS, *waits)
            else:
                await first_of(LOOK_SECONDS, self._wait_until_asked, *waits)
        # Ended here before the kubelet hears of a new registration: it would drop the new one.
        self._watch_streams.end_all()
        registered_seconds = monotonic() - since
        self.status.lost(reason, registered_seconds)
        pause_seconds = _processing_seconds(register)
        if registered_seconds >= STEADY_SECONDS:
            self._back_off_seconds = 0.0
        else:
            pause_seconds = max(pause_seconds, self._back_off_seconds)
            self._lengthen_back_off()
        await self._pause(pause_seconds, register, kubelet, watch)

    async def _pause(
        self, seconds: float, register: RegisterCall, kubelet: FileIdentity, watch: DirectoryWatch
    ) -> None:
        """Wait so long, and for the end of a call that is pending, while it is the same kubelet."""
        deadline = monotonic() + seconds
        while file_identity(self._kubelet_socket) == kubelet:
            left_seconds = deadline - monotonic()
            if left_seconds > 0:
                await first_of(left_seconds, watch.changed)
            elif register.ended.is_set():
                return
            else:
                await first_of(LOOK_SECONDS, watch.changed, register.ended.wait)

    def _lost(self, register: RegisterCall, kubelet: FileIdentity, since: float) -> str | None:
        if self._asked and register.ended.is_set() and monotonic() - since >= STEADY_SECONDS:
            return "SIGHUP"
        if file_identity(self._kubelet_socket) != kubelet:
            return "the kubelet's socket was replaced or removed"
        if not self._endpoint.in_place:
            return "the plugin's socket was removed"
        if register.is_refused:
            return f"the kubelet refused the registration: {register.error}"
        if any(stream.ended.is_set() for stream in register.streams):
            return "the kubelet's ListAndWatch stream ended"
        return None

    async def _wait_for_change(
        self, not_registered_reason: NotRegistered, watch: DirectoryWatch, *, was_in_place: bool
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
                await first_of(seconds, watch.changed)
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
            await first_of(left_seconds, watch.changed, self._wait_until_asked)

    def _lengthen_back_off(self) -> None:
        self._back_off_seconds = min(
            max(2 * self._back_off_seconds, FIRST_BACK_OFF_SECONDS), LONGEST_BACK_OFF_SECONDS
        )


def _processing_seconds(register: RegisterCall) -> float:
    """How long the kubelet may still be busy with the last list that it was sent.

    Only after that does it look whether the list's stream has ended, and drops whoever is
    registered then. One that came meanwhile may be forgotten though its stream goes on: its units
    stay healthy for the kubelet when it has long ended. Seen with kubelet 1.36.3 after one of ten
    quick successions with 10,000 units.
    """
    return max(0.0, *(stream.processed_at - monotonic() for stream in register.streams))
