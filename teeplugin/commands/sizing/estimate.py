"""What the TAs of one container take together, and as how many units."""

from collections.abc import Iterator
from dataclasses import dataclass

from teeplugin.commands.sizing.description import (
    APP_TARGET_TYPES,
    NO_TA_TARGET_TYPES,
    Description,
)
from teeplugin.commands.sizing.memory import (
    CONTAINER,
    Load,
    Part,
    Rounded,
    kib_text,
    parts_of,
    total_bytes,
)
from teeplugin.commands.sizing.precision import least_waste_precision_kb
from teeplugin.policy.units import KIB

MAX_STACK_BYTES = 8 * KIB**2
MAX_SESSIONS = 8
"""What the open sibling of iTrustee's OS takes: its MAX_STACK_SIZE and its sessions of a TA."""

MAX_SEC_BYTES = 8 * KIB**2
"""What iTrustee's libteec takes."""

_SIBLING = "the open sibling of iTrustee's OS refuses it and iTrustee may as well: it takes"


@dataclass(frozen=True, slots=True)
class Application:
    """A TA: what its files say, how the container uses it, and the length of its binary's file."""

    description: Description
    load: Load
    binary_bytes: int | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """What its instances take."""
        return parts_of(self.load)

    @property
    def needed_bytes(self) -> int:
        """What its instances take together, without what the container takes for itself."""
        return total_bytes(self.parts)

    @property
    def alone_bytes(self) -> int:
        """What a container takes that has this TA only."""
        return self.needed_bytes + CONTAINER.size_bytes

    def notes(self) -> Iterator[str]:
        """What whoever reads the numbers has to know."""
        description = self.description
        for tag in description.left_out:
            yield f"{tag} isn't given: the signing tool's {description.value(tag)} counts"
        yield from description.doubts
        if description.uuid is None:
            yield "the UUID isn't given: the TA can't be loaded without one"
        if description.keep_alive:
            yield "keep-alive: it keeps its memory after its sessions are closed"
        if (kind := APP_TARGET_TYPES.get(description.target_type or "")) is not None:
            yield (
                f"target_type {description.target_type} is {kind}: its interpreter and its files "
                "take memory that isn't counted here"
            )
        if description.in_pages:
            yield (
                "mem_page_align is true: heap and stack count pages of 4 KiB, so they have "
                f"{kib_text(description.heap_bytes)} and {kib_text(description.stack_bytes)}"
            )
        yield from self._refusals()

    def _refusals(self) -> Iterator[str]:
        """Note what keeps the TA from being loaded, so that the number is of no use."""
        description, load = self.description, self.load
        kind = NO_TA_TARGET_TYPES.get(description.target_type or "")
        if description.is_library:
            yield "is_lib is true: it is a library, which no pod loads: leave its file out"
        elif kind is not None:
            what = f"target_type {description.target_type} is {kind}"
            yield f"{what}, which no pod loads: leave its file out"
        if load.stack_bytes > MAX_STACK_BYTES:
            yield (
                f"a stack of {kib_text(load.stack_bytes)}: {_SIBLING} "
                f"{kib_text(MAX_STACK_BYTES)} at most"
            )
        if not load.single_instance:
            yield f"single_instance is false: {_SIBLING} only true"
        if load.sessions > MAX_SESSIONS:
            yield f"{load.sessions} sessions: {_SIBLING} {MAX_SESSIONS} at most"
        if self.binary_bytes is not None and self.binary_bytes > MAX_SEC_BYTES:
            yield (
                f"its binary has {kib_text(self.binary_bytes)}: libteec refuses a .sec of more "
                f"than {kib_text(MAX_SEC_BYTES)}"
            )


@dataclass(frozen=True, slots=True)
class Estimate:
    """The TAs of one container, in units of a precision."""

    applications: tuple[Application, ...]
    precision_kb: int
    resource_name: str

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts, the container's own last."""
        return (*(part for each in self.applications for part in each.parts), CONTAINER)

    @property
    def rounded(self) -> Rounded:
        """What the container needs, as units."""
        return Rounded(total_bytes(self.parts), self.precision_kb * KIB)

    @property
    def alone_bytes(self) -> tuple[int, ...]:
        """What each TA takes in a container of its own."""
        return tuple(each.alone_bytes for each in self.applications)

    @property
    def least_waste_precision_kb(self) -> int:
        """The precision that rounds away least if each of the TAs has a container of its own."""
        return least_waste_precision_kb(self.alone_bytes)
