"""Finds numbers that keep their rule and were hardly meant: another unit was probably in mind."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from teeplugin.config.given import Given
from teeplugin.config.settings import SETTINGS
from teeplugin.policy.units import KIB, MIN_PRECISION_KB, format_size

_LEAST_BYTES: Final = KIB**2
"""No TEE OS gets along with less, so a smaller number without a suffix counts something else."""

_MOST_IN_MIB: Final = 64 * KIB
"""Up to here a number was meant in MiB (64 GiB); beyond it, in KiB."""

_LEAST_IN_BYTES: Final = MIN_PRECISION_KB * KIB
"""A precision from here on, 512 MiB a unit, is a usual one written in bytes."""


class Doubt(NamedTuple):
    """A value that was hardly meant: where it is, what it means, and what was meant instead."""

    setting: str
    value: str
    effect: str
    fix: str

    @property
    def line(self) -> str:
        """The doubt as one line."""
        return f"{self.setting} {self.value}: {self.effect}: {self.fix}"


def doubts_of(values: Mapping[str, Given]) -> Iterator[Doubt]:
    """Look at settings that were accepted."""
    for key, given in values.items():
        text = (given.text or "").strip()
        if not (text.isascii() and text.isdigit()):
            continue
        amount = int(text)
        if SETTINGS[key].metavar == "SIZE" and 0 < amount < _LEAST_BYTES:
            in_kib = f"{amount}KiB" if amount % KIB else f"{amount // KIB}MiB"
            meant = f"{amount}MiB" if amount < _MOST_IN_MIB else in_kib
            yield _doubt(given, text, f"this is {amount} bytes", meant)
        elif SETTINGS[key].metavar == "KB" and amount >= _LEAST_IN_BYTES:
            effect = f"this is in KB, so a unit has {format_size(amount * KIB)}"
            yield _doubt(given, text, effect, str(amount // KIB))


def _doubt(given: Given, text: str, effect: str, meant: str) -> Doubt:
    return Doubt(given.origin, text, effect, f"write {given.spelling}{meant} if that was meant")
