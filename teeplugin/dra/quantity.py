"""Kubernetes quantities ↔ bytes: `5Mi`, `1536Ki`, `2M`, `1e3`. Pure."""

import re
from fractions import Fraction
from typing import Final

# apimachinery's resource.Quantity: a signed decimal number and a suffix or an exponent. At most
# 100 digits, as no quantity of memory has more.
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,100}(?:\.[0-9]{0,100})?|\.[0-9]{1,100})"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)

_FACTORS: Final = (
    {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)}
    | {letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", start=1)}
    | {letter: Fraction(1, 1000**power) for power, letter in enumerate("mun", start=1)}
)


def parse_quantity(text: object) -> int:
    """Turn a quantity into whole bytes, rounded up as the API does.

    Raises:
        ValueError: it is no quantity that is 0 or more.
    """
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"{text!r} is no quantity: must be a number such as 5Mi")
    whole, _, fraction = match["number"].partition(".")
    number = Fraction(int((whole + fraction) or "0"), 10 ** len(fraction))
    factor = _FACTORS.get(match["suffix"], Fraction(1))
    if match["exponent"]:
        factor = Fraction(10) ** int(match["exponent"])
    return -int(-number * factor // 1)


def format_quantity(size_bytes: int) -> str:
    """Write bytes as the API stores them: the largest binary suffix with a whole number."""
    for power, letter in reversed(list(enumerate("KMGTPE", start=1))):
        number, rest = divmod(size_bytes, 1024**power)
        if number and not rest:
            return f"{number}{letter}i"
    return str(size_bytes)
