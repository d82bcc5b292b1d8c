"""Which precision would round away least over some TAs: pure arithmetic for the size command."""

from collections.abc import Iterable, Sequence

from teeplugin.commands.sizing.memory import units_for
from teeplugin.policy.units import KIB, MIN_PRECISION_KB

MAX_UNITS_EACH = 1024
"""Finer than this many units for a TA isn't looked at: there its rounding is below 0.1 % anyway."""

USUAL_PRECISIONS_KB = tuple(MIN_PRECISION_KB << power for power in range(5))
"""The precisions worth a line of comparison: 512 KB to 8 MB."""


def wasted_bytes(sizes_bytes: Iterable[int], precision_kb: int) -> int:
    """What rounding adds to all of these sizes, each rounded up to units by itself."""
    unit_bytes = precision_kb * KIB
    return sum(units_for(size, unit_bytes) * unit_bytes - size for size in sizes_bytes)


def least_waste_precision_kb(sizes_bytes: Sequence[int]) -> int:
    """The precision in whole KB that rounds away least; the finest of several that do.

    While each size keeps its number of units, the waste grows with the precision. So the best is
    among those at which one of the sizes just fits into some number of units.
    """
    candidates_kb = {
        max(MIN_PRECISION_KB, -(-size // (count * KIB)))
        for size in sizes_bytes
        for count in range(1, min(MAX_UNITS_EACH, _finest_units(size)) + 1)
    }
    return min(candidates_kb, key=lambda each: (wasted_bytes(sizes_bytes, each), each))


def _finest_units(size_bytes: int) -> int:
    return units_for(size_bytes, MIN_PRECISION_KB * KIB)
