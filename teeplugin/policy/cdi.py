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
