"""What `tee-limit` leaves on the node for the plugin: containers whose memory the TEE limits; pure.

The files are in /run/tee-limit: `summary` is written by each hook, `reconciled` by the host
service. Both have lines `name=value`.
"""

from typing import Final, NamedTuple

DIRECTORY: Final = "/run/tee-limit"
SUMMARY: Final = "summary"
RECONCILED: Final = "reconciled"

_MOST_DIGITS = 12


class Limits(NamedTuple):
    """Containers by what the TEE was last told of them.

    `limited` have a limit; `unset` had one that a restart of the TEE took; `unknown` are groups
    that calls which never answered may have made, and that count until the TEE restarts.
    `reconciled` is when the host service last ran, in seconds since 1970; `problem` what it failed
    for.
    """

    limited: int = 0
    unset: int = 0
    unknown: int = 0
    reconciled: int | None = None
    problem: str = ""

    @property
    def groups(self) -> int:
        """How many of the TEE's groups are in use, at the most."""
        return self.limited + self.unknown

    def unrecorded(self, holders: int) -> int:
        """How many containers hold units and have no record: not started, or without TEE access."""
        return max(0, holders - self.limited - self.unset)


def parse(summary: str, reconciled: str) -> Limits:
    """Read the two files' content; an empty one says nothing.

    Raises:
        ValueError: it isn't as `tee-limit` writes it.
    """
    counts, last = _lines(summary), _lines(reconciled)
    return Limits(
        limited=_number(counts.get("limited", "0")),
        unset=_number(counts.get("unset", "0")),
        unknown=_number(counts.get("unknown", "0")),
        reconciled=_number(last["time"]) if "time" in last else None,
        problem=last.get("problem", ""),
    )


def _lines(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)
