"""The checks, one for each promise in base; the tests of a backend subclass them.

Each runs in an event loop of its own, so it needs no plugin of pytest's and no fixture.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Final

from teeplugin_backends.base import CLOSE_SECONDS, LOOK_SECONDS, OptionError, TeeBackend, TeeError
from teeplugin_backends.conformance import rules
from teeplugin_backends.conformance.following import follow_for_a_while
from teeplugin_backends.conformance.lines import raised
from teeplugin_backends.conformance.played import (
    END_SECONDS,
    PlayedTee,
    answers_again,
    check,
    leave,
    outcome_of,
)
from teeplugin_backends.conformance.resources import (
    Process,
    Resources,
    descendants,
    what_has_grown,
    what_is_left,
)
from teeplugin_backends.conformance.rules import ContractViolationError
from teeplugin_backends.conformance.running import Call, run

_ENTER_SECONDS: Final = 0.5
"""Shorter than LOOK_SECONDS, so that asking a hung TEE with a short deadline shows as well."""

_ROUNDS: Final = 3
_GROUP: Final = "teeplugin.backends"


class BackendConformance(PlayedTee):
    """Every promise that a backend makes, checked; subclass it under a name that begins with Test.

    A subclass says which backend it is about, made from which options, and plays its TEE. Each
    test has an instance of its own, and fixtures with `autouse` work as in any class of tests.
    """

    # --- how it is found and made

    def test_its_entry_point_leads_to_it(self) -> None:
        """The plugin finds backends by nothing else."""
        found = {point.value: point for point in entry_points(group=_GROUP, name=self.name)}
        if len(found) != 1:
            raise ContractViolationError(
                f"--backend {self.name} leads to {sorted(found) or 'nothing'}: it must be "
                f"registered once in the group {_GROUP}: see your pyproject.toml, and install it"
            )
        (loaded,) = (point.load() for point in found.values())
        if loaded is not self.backend:
            raise ContractViolationError(
                f"--backend {self.name} leads to {loaded}, not {self.backend}"
            )

    def test_an_unknown_option_is_refused(self) -> None:
        """An option that is misspelt must not go unnoticed."""
        self._refuses({"no-such-option": "of-any-backend"})

    def test_bad_options_are_refused(self) -> None:
        """The message names the option and its value."""
        for bad in self.bad_options:
            self._refuses(bad)

    @check
    async def test_making_it_asks_no_tee_and_opens_nothing(self) -> None:
        """Other commands make it as well, and never enter it."""
        before = Resources.now()
        self._hang()
        made = [self._made() for _ in range(_ROUNDS)]
        for backend in made:
            rules.identity(backend.identity())
        rules.must_be_none("from_options opens what it doesn't close", await what_has_grown(before))

    @check
    async def test_it_can_be_entered_while_the_tee_fails_or_hangs(self) -> None:
        """A node whose TEE is down has to start as well, and to recover."""
        for state, play in self._states().items():
            self.tee_is_well()
            backend = self._made()
            play()
            entering = Call(backend.__aenter__())
            if not await entering.ends(_ENTER_SECONDS):
                raise ContractViolationError(
                    f"__aenter__ takes over {_ENTER_SECONDS} s, the TEE {state}"
                )
            if entering.outcome is not backend:
                raise ContractViolationError(
                    f"__aenter__ gave {entering.outcome!r}, the TEE {state}: return self, and ask "
                    "the TEE nothing"
                )
            self.tee_is_well()
            await answers_again(backend, f"entered while the TEE {state}")
            await leave(backend)

    # --- what the TEE has

    @check
    async def test_a_tee_that_is_well_gives_a_reading(self) -> None:
        """It answers a TeeMemory within the plugin's deadline."""
        async with self._open() as backend:
            rules.reading(await outcome_of(backend), self.expected_memory)

    @check
    async def test_a_fault_is_raised_as_its_kind(self, kind: type[TeeError]) -> None:
        """Nothing but a TeeError is raised, with words and a fix."""
        async with self._open() as backend:
            self.tee_fails(kind)
            rules.fault(await outcome_of(backend), kind)

    @check
    async def test_a_fault_is_over_when_the_tee_is_well(self, kind: type[TeeError]) -> None:
        """No restart of the plugin is needed."""
        async with self._open() as backend:
            self.tee_fails(kind)
            await outcome_of(backend)
            self.tee_is_well()
            await answers_again(backend, f"after {kind.kind}")

    @check
    async def test_queries_leave_nothing_behind(self) -> None:
        """The plugin asks once a minute for years."""
        async with self._open() as backend:
            await self._ask_in_every_state(backend)
            # What the first round opened may be kept.
            before = Resources.now()
            for _ in range(_ROUNDS):
                await self._ask_in_every_state(backend)
            rules.must_be_none("each query leaves something open", await what_has_grown(before))

    # --- queries that hang

    @check
    async def test_a_query_that_hangs_ends_at_once_when_it_is_cancelled(self) -> None:
        """That is how the plugin's deadline ends it, and its stop."""
        self._needs_hanging()
        async with self._open() as backend, self._hanging(backend) as query:
            query.cancel()
            if not await query.ends(CLOSE_SECONDS):
                raise ContractViolationError(
                    f"memory() went on for over {CLOSE_SECONDS} s after it was cancelled: "
                    "wait for nothing then, not even for the end of what you kill"
                )
            if not query.was_cancelled:
                raise ContractViolationError(
                    f"memory() made {query.outcome!r} of its cancellation: let it through"
                )

    @check
    async def test_it_answers_again_after_a_query_that_hung(self) -> None:
        """One that was cancelled holds no lock and spoils no connection."""
        self._needs_hanging()
        async with self._open() as backend:
            async with self._hanging(backend):
                pass
            self.tee_is_well()
            await answers_again(backend, "after a query that hung and was cancelled")

    @check
    async def test_queries_that_hang_do_not_pile_up(self) -> None:
        """Only one may be outstanding in the TEE, or a hang would use the node up."""
        self._needs_hanging()
        seen: set[Process] = set()
        async with self._open() as backend:
            async with self._hanging(backend):
                pass
            before = Resources.now()
            for _ in range(_ROUNDS):
                # One that is refused because the last is still there is right as well.
                query = await self._begun(backend)
                seen |= descendants()
                query.cancel()
                await query.ends(END_SECONDS)
            grown = await what_has_grown(before, frozenset(seen) - before.processes)
            rules.must_be_none("each query that hangs leaves something", grown)

    # --- what is answered from memory

    @check
    async def test_access_is_what_a_container_can_be_given(self) -> None:
        """Else the kubelet couldn't create the container."""
        async with self._open() as backend:
            await outcome_of(backend)
            rules.access(backend.access(), self.expected_access)

    @check
    async def test_access_stays_the_same_and_asks_no_tee(self) -> None:
        """Allocate is answered with it, on which the kubelet waits."""
        await self._stays("access()", lambda backend: backend.access())

    @check
    async def test_the_default_reserve_stays_the_same_and_asks_no_tee(self) -> None:
        """The list of units is counted with it."""
        await self._number_stays("default_reserve_bytes")

    @check
    async def test_limited_containers_stay_the_same_and_ask_no_tee(self) -> None:
        """Not 0, it decides what containers need of the node, and how many claims fit."""
        await self._number_stays("limited_containers")

    @check
    async def test_the_flavour_stays_the_same_and_asks_no_tee(self) -> None:
        """It is in the node's ResourceSlice, by which claims select."""
        await self._stays("flavour", lambda backend: rules.flavour(backend.flavour))

    @check
    async def test_the_identity_stays_the_same_and_asks_no_tee(self) -> None:
        """Somebody writes it into an allowlist."""
        await self._stays("identity()", lambda backend: rules.identity(backend.identity()))

    @check
    async def test_counters_only_grow_and_ask_no_tee(self) -> None:
        """They are read at each scrape, whatever the TEE does."""
        async with self._open() as backend:
            counted = rules.counters(backend.counters(), {})
            for play in self._states(hanging=False).values():
                play()
                await outcome_of(backend)
                counted = rules.counters(backend.counters(), counted)
        self.tee_is_well()
        async with self._open() as backend:
            counted = rules.counters(backend.counters(), {})
            async with self._hanging(backend):
                counted = rules.counters(backend.counters(), counted)
            rules.counters(backend.counters(), counted)

    @check
    async def test_checks_give_findings_and_ask_no_tee(self) -> None:
        """The command doctor prints them, of a TEE in any state, wherever the node's root is."""
        with tempfile.TemporaryDirectory() as empty:
            for play in self._states(hanging=False).values():
                self.tee_is_well()
                async with self._open() as backend:
                    play()
                    await outcome_of(backend)
                    self._hang()
                    for root in (Path("/"), Path(empty)):
                        checking = Call(backend.checks(root))
                        if not await checking.ends(LOOK_SECONDS):
                            raise ContractViolationError(f"checks() takes over {LOOK_SECONDS} s")
                        if isinstance(error := checking.outcome, Exception):
                            raise ContractViolationError(
                                f"checks() raised {raised(error)}"
                            ) from error
                        rules.findings(checking.outcome)

    @check
    async def test_changes_end_when_they_are_closed_and_ask_no_tee(self) -> None:
        """They are followed beside the queries, from before the first one to the end."""
        backend, before = self._made(), Resources.now()
        self._hang()
        await follow_for_a_while(backend)
        rules.must_be_none("changes() leaves open", await what_has_grown(before))

    # --- its end

    @check
    async def test_leaving_ends_at_once_while_a_query_hangs(self) -> None:
        """A pod's owner may count on its end within two seconds."""
        self._needs_hanging()
        backend = self._made()
        await backend.__aenter__()
        async with self._hanging(backend):
            leaving = Call(backend.__aexit__(None, None, None))
            if not await leaving.ends(CLOSE_SECONDS):
                raise ContractViolationError(
                    f"__aexit__ takes over {CLOSE_SECONDS} s while a query hangs"
                )
            if isinstance(error := leaving.outcome, Exception):
                raise ContractViolationError(f"__aexit__ raised {raised(error)}") from error

    def test_leaving_leaves_nothing_behind(self) -> None:
        """No task, thread, process or descriptor, though the TEE goes on hanging."""
        seen: set[Process] = set()
        self.tee_is_well()
        try:
            run(lambda: self._live(seen))
            # The first may have loaded what stays; it is the growth that counts.
            before = Resources.now()
            self.tee_is_well()
            run(lambda: self._live(seen))
            left = what_is_left(before, frozenset(seen) - before.processes)
            rules.must_be_none("left open by __aexit__", left)
        finally:
            self.tee_is_well()

    # --- how

    def _refuses(self, bad: Mapping[str, str]) -> None:
        try:
            self.backend.from_options(MappingProxyType({**self.options(), **bad}))
        except OptionError as error:
            rules.refusal(str(error), bad)
        except Exception as error:
            raise ContractViolationError(
                f"{dict(bad)}: raise OptionError, not {error!r}"
            ) from error
        else:
            raise ContractViolationError(f"from_options takes {dict(bad)}: raise OptionError")

    async def _ask_in_every_state(self, backend: TeeBackend) -> None:
        for play in self._states(hanging=False).values():
            play()
            await outcome_of(backend)

    async def _number_stays(self, name: str) -> None:
        await self._stays(name, lambda backend: rules.whole_number(name, getattr(backend, name)))

    async def _stays(self, what: str, look: Callable[[TeeBackend], object]) -> None:
        """Look in every state of the TEE, before it is asked and after."""
        async with self._open() as backend:
            await outcome_of(backend)
            first = look(backend)
            for state, play in self._states(hanging=False).items():
                play()
                rules.must_equal(what, first, look, backend, state)
                await outcome_of(backend)
                rules.must_equal(what, first, look, backend, state)
        # With another one, as this may not have recovered.
        self.tee_is_well()
        async with self._open() as backend:
            await outcome_of(backend)
            async with self._hanging(backend):
                rules.must_equal(what, first, look, backend, "hangs")

    async def _live(self, seen: set[Process]) -> None:
        """Enter, read, hang, leave; adds the processes that were there to `seen`."""
        before = asyncio.all_tasks()
        backend = self._made()
        await backend.__aenter__()
        await outcome_of(backend)
        async with self._hanging(backend):
            seen |= descendants()
        await leave(backend)
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=CLOSE_SECONDS)
        rules.must_be_none("left running by __aexit__", [repr(task) for task in left])
