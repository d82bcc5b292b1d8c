"""Backends that break what is promised of what they answer from memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    Finding,
    Identity,
    TeeError,
    TeeMemory,
)
from tests.unit.backends.broken_backends.fake import Failing, Right, fails, tee


@fails(access_is_what_a_container_can_be_given="answer a ContainerAccess")
class GivesNoAccess(Right):
    def access(self) -> Any:
        return None


@fails(access_is_what_a_container_can_be_given="and not ContainerAccess(")
class GivesOtherAccess(Right):
    def access(self) -> ContainerAccess:
        return ContainerAccess()


class Giving(Right):
    """Gives what must not be given, whatever is expected."""

    given: ContainerAccess

    def access(self) -> ContainerAccess:
        return self.given


@fails(access_is_what_a_container_can_be_given="dev/tee must begin with /")
class GivesARelativePath(Giving):
    given = ContainerAccess(devices=(Device("dev/tee", "/dev/tee"),))


@fails(access_is_what_a_container_can_be_given="permissions must be of r, w and m")
class GivesUnknownPermissions(Giving):
    given = ContainerAccess(devices=(Device("/dev/tee", "/dev/tee", "rwx"),))


@fails(access_is_what_a_container_can_be_given="TEE_RAM_UNITS is the plugin's own")
class GivesThePluginsVariable(Giving):
    given = ContainerAccess(environment={"TEE_RAM_UNITS": "1"})


@fails(access_is_what_a_container_can_be_given="missing_fix is 'modprobe a\\nmodprobe b'")
class GivesAFixOfTwoLines(Giving):
    given = ContainerAccess(missing_fix="modprobe a\nmodprobe b")


@fails(access_stays_the_same_and_asks_no_tee="access() was ContainerAccess(")
class ForgetsAccess(Failing):
    failed = False

    def tell(self, error: TeeError) -> TeeMemory:
        self.failed = True
        raise error

    def access(self) -> ContainerAccess:
        return ContainerAccess() if self.failed else super().access()


@fails(access_stays_the_same_and_asks_no_tee="access() raised Unreachable(")
class AsksForAccess(Right):
    def access(self) -> ContainerAccess:
        tee.memory_now()
        return super().access()


@fails(access_stays_the_same_and_asks_no_tee="the event loop stood still")
class WaitsForAccess(Right):
    def access(self) -> ContainerAccess:
        tee.answers.wait()
        return super().access()


@fails(the_default_reserve_stays_the_same_and_asks_no_tee="must be a whole number, 0 or more")
class HasANegativeReserve(Right):
    @property
    def default_reserve_bytes(self) -> int:
        return -1


@fails(the_default_reserve_stays_the_same_and_asks_no_tee="default_reserve_bytes was 1, and is 2")
class ChangesItsReserve(Right):
    @property
    def default_reserve_bytes(self) -> int:
        return min(self.asked, 2)


@fails(limited_containers_stay_the_same_and_ask_no_tee="must be a whole number, 0 or more")
class LimitsInWords(Right):
    @property
    def limited_containers(self) -> int:
        return "63"  # type: ignore[return-value] # the author's mistake that the kit finds


@fails(limited_containers_stay_the_same_and_ask_no_tee="limited_containers was 1, and is 2")
class LimitsOthersLater(Right):
    @property
    def limited_containers(self) -> int:
        return min(self.asked, 2)


@fails(the_flavour_stays_the_same_and_asks_no_tee="must be a text of at most 64")
class HasALongFlavour(Right):
    @property
    def flavour(self) -> str:
        return "acme " * 13


@fails(the_flavour_stays_the_same_and_asks_no_tee="flavour raised Unreachable(")
class AsksForItsFlavour(Right):
    @property
    def flavour(self) -> str:
        tee.memory_now()
        return "fake"


@fails(the_identity_stays_the_same_and_asks_no_tee="identity() was Identity(")
class ChangesItsIdentity(Right):
    def identity(self) -> Identity | None:
        return Identity("/usr/bin/x", "root", f"{self.asked:064}")


@fails(the_identity_stays_the_same_and_asks_no_tee="identity() raised Unreachable(")
class AsksForItsIdentity(Right):
    def identity(self) -> Identity | None:
        if self.asked:
            tee.memory_now()
        return super().identity()


@fails(
    making_it_asks_no_tee_and_opens_nothing="64 lower-case hexadecimal digits",
    the_identity_stays_the_same_and_asks_no_tee="64 lower-case hexadecimal digits",
)
class HashesInCapitals(Right):
    def identity(self) -> Identity | None:
        return Identity("/usr/bin/x", "root", "A" * 64)


@fails(counters_only_grow_and_ask_no_tee="counters only grow")
class CountsDown(Right):
    def counters(self) -> Mapping[str, int]:
        return {"left": 100 - self.asked}


@fails(counters_only_grow_and_ask_no_tee="counters() has no well any more")
class ForgetsCounters(Right):
    def counters(self) -> Mapping[str, int]:
        return {} if tee.fault else {"well": 1}


@fails(counters_only_grow_and_ask_no_tee="give a text and a whole number")
class CountsInFractions(Right):
    def counters(self) -> Any:
        return {"seconds": 0.5}


@fails(checks_give_findings_and_ask_no_tee="checks() takes over")
class AsksInChecks(Right):
    async def checks(self, host_root: Path) -> Sequence[Finding]:
        await tee.memory()
        return await super().checks(host_root)


@fails(checks_give_findings_and_ask_no_tee="checks() raised FileNotFoundError(")
class NeedsAWholeNode(Right):
    async def checks(self, host_root: Path) -> Sequence[Finding]:
        return (Finding.ok("node", (host_root / "etc" / "passwd").read_text()),)


@fails(checks_give_findings_and_ask_no_tee="give Finding(...)")
class FindsText(Right):
    async def checks(self, host_root: Path) -> Any:
        return (f"all well below {host_root}",)


@fails(checks_give_findings_and_ask_no_tee="names one link twice")
class NamesALinkTwice(Right):
    async def checks(self, host_root: Path) -> Sequence[Finding]:
        return [*await super().checks(host_root)] * 2
