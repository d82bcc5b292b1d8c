"""Names of the devices in the Container Device Interface's static specification.

The specification has one device for each amount of units, so nothing is written for a container.
"""

from typing import Final

KIND: Final = "tee.huawei.com/units"
"""Vendor and class, as CDI calls the two parts."""

MOST_AMOUNTS: Final = 2048
"""Devices of one specification at most. With mounts and a hook in each this takes 420 KB."""


def device(units: int) -> str:
    """Give the fully qualified name of the device for an amount, as `tee.huawei.com/units=10`."""
    return f"{KIND}={units}"


def units_of(name: str) -> int | None:
    """Read the amount from a device's fully qualified name; None if it is another kind's."""
    kind, _, amount = name.partition("=")
    if kind != KIND or not (amount.isascii() and amount.isdigit()):
        return None
    return int(amount) if len(amount) <= len(str(MOST_AMOUNTS)) else None
