"""What the author of a backend tells of it, and how the checks in suite make use of that."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar
from unittest import SkipTest

import anyio

from teeplugin_backends.base import (
    QUERY_SECONDS,
    ContainerAccess,
    TeeBackend,
    TeeError,
    TeeMemory,
)
from teeplugin_backends.conformance.lines import raised
from teeplugin_backends.conformance.rules import ContractViolationError
from teeplugin_backends.conformance.running import Call, run

END_SECONDS: Final = 5.0
"""How long a check waits for an end that another check is about."""

_POLL_SECONDS: Final = 0.05

_P = ParamSpec("_P")
_T = TypeVar("_T", bound="PlayedTee")


def check(
    body: Callable[Concatenate[_T, _P], Awaitable[None]],
) -> Callable[Concatenate[_T, _P], None]:
    """Make a test that runs in a loop of its own, on a TEE that is well before and after."""

    @wraps(body)
    def test(self: _T, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        self.tee_is_well()
        try:
            run(lambda: body(self, *args, **kwargs))
        finally:
            self.tee_is_well()

    return test


class PlayedTee(ABC):
    """A backend, the options to make it from, and a TEE behind it that a test plays.

    What is played takes effect at the next query, also of a backend that is open.
    """

    backend: ClassVar[type[TeeBackend]]

    name: ClassVar[str]
    """What operators give for --backend: the name of its entry point."""

    kinds: ClassVar[Sequence[type[TeeError]]]
    """The faults that `tee_fails` can play: all that the backend can tell apart."""

    can_hang: ClassVar[bool] = True
    """Whether a query can hang: False for one that only reads files of sysfs or procfs."""

    bad_options: ClassVar[Sequence[Mapping[str, str]]] = ()
    """Options that have to be refused, each on top of the good ones."""

    expected_memory: TeeMemory | None = None
    """What is read while the TEE is well, if that is to be compared."""

    expected_access: ContainerAccess | None = None
    """What containers are to be given, if that is to be compared."""

    def options(self) -> Mapping[str, str]:
        """Give the options to make the backend from."""
        return {}

    @abstractmethod
    def tee_is_well(self) -> None:
        """Have the TEE answer; called before and after each test too, whatever was played."""

    @abstractmethod
    def tee_fails(self, kind: type[TeeError]) -> None:
        """Have queries fail with one of `kinds`."""

    def tee_hangs(self) -> None:
        """Have queries not be answered until the TEE is well again; needed where `can_hang`."""
        raise NotImplementedError("play a TEE that hangs, or set can_hang = False if it can't")

    async def until_it_hangs(self) -> None:
        """Wait until a query that was begun just now hangs in the TEE."""
        await anyio.sleep(0.5)

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test for each kind; called by pytest."""
        if "kind" in metafunc.fixturenames:
            if not self.kinds:
                raise ValueError(f"{type(self).__name__}.kinds is empty: name at least one kind")
            metafunc.parametrize("kind", self.kinds, ids=[kind.kind for kind in self.kinds])

    # --- how the checks use it

    def _made(self) -> TeeBackend:
        return self.backend.from_options(MappingProxyType(dict(self.options())))

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[TeeBackend]:
        """Make one and enter it as the plugin does, which keeps what it has made."""
        backend = self._made()
        await backend.__aenter__()
        try:
            yield backend
        finally:
            await leave(backend)

    @asynccontextmanager
    async def _hanging(self, backend: TeeBackend) -> AsyncIterator[Call]:
        """Have a query hang; it is cancelled at the end."""
        query = await self._begun(backend)
        if await query.ends(0) and self.can_hang:
            raise ContractViolationError(
                f"tee_hangs() doesn't: memory() came to {query.outcome!r} instead of waiting; a "
                "time limit of the backend's own must be longer than until_it_hangs() takes"
            )
        try:
            yield query
        finally:
            query.cancel()
            await query.ends(END_SECONDS)

    async def _begun(self, backend: TeeBackend) -> Call:
        self._hang()
        query = Call.of_memory(backend)
        await query.ends_before(self.until_it_hangs())
        return query

    def _hang(self) -> None:
        (self.tee_hangs if self.can_hang else self.tee_is_well)()

    def _needs_hanging(self) -> None:
        """Skip a check that is about hanging only; pytest takes unittest's way of it."""
        if not self.can_hang:
            raise SkipTest("its TEE can't hang")

    def _states(self, *, hanging: bool = True) -> dict[str, Callable[[], None]]:
        """What the TEE may be like, in words, and how to have it so."""
        states: dict[str, Callable[[], None]] = {"is well": self.tee_is_well}
        for kind in self.kinds:
            states[f"is {kind.kind}"] = partial(self.tee_fails, kind)
        if hanging and self.can_hang:
            states["hangs"] = self.tee_hangs
        return states


async def outcome_of(backend: TeeBackend) -> object:
    """Ask, and give the answer or the exception.

    Raises:
        BrokenPromiseError: neither came before the plugin's deadline.
    """
    query = Call.of_memory(backend)
    if not await query.ends(QUERY_SECONDS):
        query.cancel()
        raise ContractViolationError(f"memory() gave no answer within {QUERY_SECONDS:g} s")
    return query.outcome


async def answers_again(backend: TeeBackend, when: str) -> None:
    """Ask until there is a reading, for as long as one query may take."""
    deadline = anyio.current_time() + QUERY_SECONDS
    while isinstance(outcome := await outcome_of(backend), TeeError):
        if anyio.current_time() > deadline:
            raise ContractViolationError(
                f"{when}, it has not answered since: {outcome!r}"
            ) from outcome
        await anyio.sleep(_POLL_SECONDS)
    if isinstance(outcome, BaseException):
        raise ContractViolationError(f"{when}, memory() raised {raised(outcome)}") from outcome


async def leave(backend: TeeBackend) -> None:
    """Leave it, as one that does it badly fails the checks of just that."""
    with suppress(Exception):
        await Call(backend.__aexit__(None, None, None)).ends(END_SECONDS)
