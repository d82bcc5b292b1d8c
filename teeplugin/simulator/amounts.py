"""Amounts as scenarios write them: `all - 10`, `20 units`, `10MiB`.

They are worked out where they are needed, so that one scenario fits any memory and precision.
"""

import re
from dataclasses import dataclass
from typing import Self

from teeplugin.config.validators import size
from teeplugin.policy.units import format_size

_UNITS_FIX = (
    "give a whole number, or all, free or allocated, with + or - a whole number if need be, "
    "like `all - 10`"
)
_MEMORY_FIX = "give a size with K, M, G or T, or a number of units like `20 units`"

# Seven digits are enough for more units than a kubelet takes.
_UNITS = re.compile(
    r"(?P<alone>[0-9]{1,7})"
    r"|(?P<term>all|free|allocated)(?:\s*(?P<sign>[+-])\s*(?P<more>[0-9]{1,7}))?"
)
_IN_UNITS = re.compile(r"(?P<units>.*\S)\s+units?")


@dataclass(frozen=True, slots=True)
class Figures:
    """What the words stand for now: all units of the TEE's memory, free and allocated ones."""

    all: int
    free: int
    allocated: int
    unit_bytes: int


@dataclass(frozen=True, slots=True)
class Units:
    """A number of units: one of the `Figures` by its name, or none, and what is added to it."""

    term: str
    more: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Read it.

        Raises:
            ValueError: it is no such amount.
        """
        match = _UNITS.fullmatch(text)
        if match is None:
            raise ValueError(f"not a number of units: {_UNITS_FIX}")
        if match["alone"]:
            return cls("", int(match["alone"]))
        return cls(match["term"], int(f"{match['sign'] or '+'}{match['more'] or 0}"))

    def count(self, figures: Figures) -> int:
        """Work it out; never below 0."""
        term: int = getattr(figures, self.term) if self.term else 0
        return max(0, term + self.more)


ALL = Units("all", 0)


@dataclass(frozen=True, slots=True)
class Memory:
    """An amount of memory: in units, or in bytes."""

    units: Units | None
    size_bytes: int = 0

    @classmethod
    def of(cls, text: str) -> Self:
        """Read it.

        Raises:
            ValueError: it is no such amount.
        """
        try:
            if match := _IN_UNITS.fullmatch(text):
                return cls(Units.of(match["units"]))
            size_bytes = size(text)
        except ValueError as error:
            fault, _, _ = str(error).partition(":")
            raise ValueError(f"{fault}: {_MEMORY_FIX}") from None
        if not isinstance(size_bytes, int):
            raise ValueError(f"not a size of whole bytes: {_MEMORY_FIX}")  # noqa: TRY004 - a text that can't be read
        return cls(None, size_bytes)

    def bytes(self, figures: Figures) -> int:
        """Work it out."""
        if self.units is None:
            return self.size_bytes
        return self.units.count(figures) * figures.unit_bytes

    def text(self, figures: Figures) -> str:
        """Write it as it was meant: in units or as a size."""
        if self.units is None:
            return format_size(self.size_bytes)
        return f"{self.units.count(figures)} units"
