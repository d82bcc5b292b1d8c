"""Names and values of the environment variables that tell a container of its units."""

import re

UNITS_VARIABLE = "TEE_RAM_UNITS"
"""How many units the container holds."""

UNIT_BYTES_VARIABLE = "TEE_RAM_UNIT_BYTES"
"""The bytes of one unit."""

BYTES_VARIABLE = "TEE_RAM_BYTES"
"""The bytes of all units that the container holds."""


def unit_variables(resource_name: str, units: int, unit_bytes: int) -> dict[str, str]:
    """Name the variables that tell a container of its units, and their values.

    Each is there twice. The kubelet merges the variables of a container's resources, and keeps one
    of each name: those that end with the resource's name stay apart.
    """
    values = {
        UNITS_VARIABLE: units,
        UNIT_BYTES_VARIABLE: unit_bytes,
        BYTES_VARIABLE: units * unit_bytes,
    }
    suffix = re.sub("[^A-Za-z0-9]", "_", resource_name).upper()
    plain = {name: str(value) for name, value in values.items()}
    return plain | {f"{name}_{suffix}": value for name, value in plain.items()}
