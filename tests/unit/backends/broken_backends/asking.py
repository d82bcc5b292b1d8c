"""Backends that break what is promised of queries."""

import os
import subprocess
from typing import Any, Final

import anyio

from teeplugin_backends.base import (
    BadReply,
    Refused,
    TeeError,
    TeeMemory,
    TimedOut,
)
from tests.unit.backends.broken_backends.fake import MEMORY, Failing, Right, fails, tee

SLOW_SECONDS: Final = 0.7
"""Longer than "at once" and shorter than what the kit waits for an end."""


@fails(a_tee_that_is_well_gives_a_reading="answer a TeeMemory")
class AnswersATuple(Right):
    async def memory(self) -> Any:
        memory = await super().memory()
        return memory.total_bytes, memory.free_bytes


@fails(a_tee_that_is_well_gives_a_reading="and not TeeMemory(")
class TakesTheReserveOff(Right):
    async def memory(self) -> TeeMemory:
        memory = await super().memory()
        return TeeMemory(memory.total_bytes // 2, memory.free_bytes)


@fails(a_fault_is_raised_as_its_kind="turn every error into a kind of TeeError")
class LetsOtherErrorsThrough(Failing):
    def tell(self, error: TeeError) -> TeeMemory:
        if isinstance(error, Refused):
            raise error
        raise OSError(2, "No such file or directory")


@fails(a_fault_is_raised_as_its_kind="should raise Unreachable now, and raised BadReply(")
class ConfusesKinds(Failing):
    def tell(self, error: TeeError) -> TeeMemory:
        raise BadReply(str(error))


@fails(a_fault_is_raised_as_its_kind="says nothing")
class SaysNothing(Failing):
    def tell(self, error: TeeError) -> TeeMemory:
        raise type(error)("")


@fails(a_fault_is_raised_as_its_kind="has no fix")
class KnowsNoCure(Failing):
    def tell(self, error: TeeError) -> TeeMemory:
        error.fix = ""
        raise error


@fails(a_fault_is_raised_as_its_kind="old figures are no answer")
class AnswersOldFigures(Failing):
    def tell(self, error: TeeError) -> TeeMemory:
        del error
        return MEMORY


@fails(a_fault_is_over_when_the_tee_is_well="after unreachable, it has not answered since")
class NeverRecovers(Failing):
    fault: TeeError | None = None

    async def memory(self) -> TeeMemory:
        if self.fault:
            raise self.fault
        return await super().memory()

    def tell(self, error: TeeError) -> TeeMemory:
        self.fault = error
        raise error


@fails(queries_leave_nothing_behind="each query leaves something open: descriptor")
class OpensAtEachQuery(Right):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[int] = []

    async def memory(self) -> TeeMemory:
        memory = await super().memory()
        self.files.append(os.open("/dev/null", os.O_RDONLY))
        return memory

    async def __aexit__(self, *_: object) -> None:
        while self.files:
            os.close(self.files.pop())


@fails(queries_leave_nothing_behind="process")
class WaitsForNoProcess(Right):
    def __init__(self) -> None:
        super().__init__()
        self.processes: list[subprocess.Popen[bytes]] = []

    async def memory(self) -> TeeMemory:
        memory = await super().memory()
        self.processes.append(subprocess.Popen(["true"]))  # noqa: ASYNC220 - wrong in many ways
        return memory

    async def __aexit__(self, *_: object) -> None:
        while self.processes:
            self.processes.pop().wait()


@fails(a_query_that_hangs_ends_at_once_when_it_is_cancelled="went on for over 0.5 s")
class EndsSlowly(Right):
    async def memory(self) -> TeeMemory:
        try:
            return await super().memory()
        finally:
            if not tee.answers.is_set():
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(SLOW_SECONDS)


@fails(a_query_that_hangs_ends_at_once_when_it_is_cancelled="let it through")
class MakesAFaultOfCancellation(Right):
    async def memory(self) -> TeeMemory:
        try:
            return await super().memory()
        except anyio.get_cancelled_exc_class():
            raise TimedOut("it was cancelled") from None


@fails(it_answers_again_after_a_query_that_hung="has not answered since: Refused(")
class KeepsItsLock(Right):
    locked = False

    async def memory(self) -> TeeMemory:
        if self.locked:
            raise Refused("a query is under way")
        self.locked = True
        try:
            memory = await super().memory()
        except TeeError:
            self.locked = False
            raise
        self.locked = False
        return memory


@fails(queries_that_hang_do_not_pile_up="each query that hangs leaves something: descriptor")
class PilesUpWhatHangs(OpensAtEachQuery):
    async def memory(self) -> TeeMemory:
        if not tee.answers.is_set():
            self.files.append(os.open("/dev/null", os.O_RDONLY))
        return await Right.memory(self)


class BlocksTheLoop(Right):
    async def memory(self) -> TeeMemory:
        return tee.memory_now()


class NeverEnds(Right):
    async def memory(self) -> TeeMemory:
        with anyio.CancelScope(shield=True):
            return await super().memory()
        raise TimedOut("it ended")
