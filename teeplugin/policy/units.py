"""Memory ↔ allocation units: the only place with this arithmetic.

One unit is `precision` KB of secure memory, 1 KB = 1,024 bytes as in the original plugin, and one
virtual device `0 … N−1` in the kubelet's list. Nothing here knows of sockets, clocks or the TEE.
"""

import re

KIB = 1024

MIN_PRECISION_KB = 512
"""The finest unit the original plugin allows."""

KUBELET_MESSAGE_BYTES = 4_194_304
"""The largest gRPC message the kubelet takes: grpc-go's default of 4 MiB, inclusive."""

COSTLY_UNITS = 4096
"""Above this the kubelet's own cost per device shows: seconds under its lock at each restart."""

COMFORTABLE_UNITS = 2000
"""A list of 1,000–2,000 devices is comfortable for the kubelet; advice aims below this."""

HEALTHY_ROW_BYTES = 13
"""One device's row without its id: two tags, two lengths, and the field `Healthy` of 9 bytes."""

# More digits are nobody's size, and Python refuses 4,301.
_SIZE = re.compile(
    r"(?P<number>[0-9]{1,100}(?:\.[0-9]{1,100})?)\s*(?P<suffix>[a-z]*)", re.IGNORECASE
)
_SUFFIX_BYTES = {"": 1, "b": 1} | {
    spelling: KIB**power
    for power, letter in enumerate("kmgt", start=1)
    for spelling in (letter, f"{letter}b", f"{letter}i", f"{letter}ib")
}


def parse_size(text: str) -> int:
    """Turn `600MiB`, `600Mi`, `2.5M`, `512 KB` or `4096` into bytes; all suffixes count in 1,024s.

    Raises:
        ValueError: the text is no size, or not a whole number of bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    factor: int | None = _SUFFIX_BYTES.get(match["suffix"].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size: write a number with K, M, G or T, like 600M")
    whole, _, fraction = match["number"].partition(".")
    divisor: int = 10 ** len(fraction)
    scaled, rest = divmod(int(whole + fraction) * factor, divisor)
    if rest:
        raise ValueError(f"{text!r} is not a whole number of bytes: write it in a smaller unit")
    return scaled


def format_size(size_bytes: int) -> str:
    """Write bytes for people, exactly: `600 MiB`, `2.5 MiB`, `10485777 B`; `parse_size` reads it.

    In the largest suffix in which it is a whole number of quarters.
    """
    for power, letter in ((4, "T"), (3, "G"), (2, "M"), (1, "K")):
        quarters, rest = divmod(4 * size_bytes, KIB**power)
        if quarters >= 4 and not rest:  # noqa: PLR2004 - one of this suffix
            whole, quarter = divmod(quarters, 4)
            return f"{whole}{('', '.25', '.5', '.75')[quarter]} {letter}iB"
    return f"{size_bytes} B"


def flag_size(size_bytes: int) -> str:
    """Write bytes as a value of flags and YAML, in one word: `2.5MiB`."""
    return format_size(size_bytes).replace(" ", "")


def counted(count: int, noun: str) -> str:
    """Write a number of things: `1 unit`, `2 units`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def capacity_bytes(total_bytes: int, reserve_bytes: int) -> int:
    """What trusted applications can have of the total: never below 0."""
    return max(0, total_bytes - reserve_bytes)


def units_in(size_bytes: int, unit_bytes: int) -> int:
    """How many whole units fit."""
    return size_bytes // unit_bytes


def units_short(unallocated_units: int, free_bytes: int, unit_bytes: int) -> int:
    """How many unallocated units the free memory can't back, at the least."""
    missing_bytes = unallocated_units * unit_bytes - free_bytes
    return max(0, -(-missing_bytes // unit_bytes))


def unallocated_use_bytes(memory_used_bytes: int, allocated_units: int, unit_bytes: int) -> int:
    """What others than the pods with units use at the least: the pods may use all they hold."""
    return max(0, memory_used_bytes - allocated_units * unit_bytes)


def external_use_min_bytes(unallocated_bytes: int, reserve_bytes: int) -> int:
    """What is used beside pods and the TEE OS: a lower bound, as the TEE OS may use less."""
    return max(0, unallocated_bytes - reserve_bytes)


def rows_bytes(units: int, row_bytes: int) -> int:
    """Bytes of `units` rows for the ids 0 … units−1, each row being `row_bytes` and its decimal id.

    In closed form, because frames are cut at its values.
    """
    if units <= 0:
        return 0
    digits = len(str(units - 1))
    # As if all ids were as long as the last, less what the shorter ones lack: 10 ids one digit
    # less than two, 110 less than three, and so on.
    lacking: int = (10**digits - 10) // 9
    return units * (row_bytes + digits) - lacking


def _most_units() -> int:
    low, high = 1, KUBELET_MESSAGE_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        if rows_bytes(middle, HEALTHY_ROW_BYTES) <= KUBELET_MESSAGE_BYTES:
            low = middle
        else:
            high = middle - 1
    return low


MAX_UNITS = _most_units()
"""The longest all-healthy list the kubelet takes: 226,600 decimal ids."""


def finest_precision_kb(size_bytes: int, most_units: int = MAX_UNITS) -> int:
    """The smallest precision, in whole KB and at least the minimum, that gives ≤ `most_units`."""
    unit_bytes = size_bytes // (most_units + 1) + 1
    return max(MIN_PRECISION_KB, -(-unit_bytes // KIB))


def comfortable_precision_kb(size_bytes: int) -> int:
    """A power-of-two precision that gives about 1,000–2,000 units."""
    precision_kb = MIN_PRECISION_KB
    while size_bytes // (precision_kb * KIB) > COMFORTABLE_UNITS:
        precision_kb *= 2
    return precision_kb
