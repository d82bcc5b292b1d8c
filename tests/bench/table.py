"""Shows the results: the table, and the same as JSON."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from time import perf_counter

from teeplugin import __version__
from tests.bench.figures import FIGURES, Figure, Results

LEGEND = "0.4×: 0.4 of the budget. The Go original's figures are another machine's: context only."


def machine() -> str:
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    cores = len(os.sched_getaffinity(0))
    return (
        f"teeplugin {__version__}, {platform.python_implementation()} "
        f"{platform.python_version()}, {cores} cores, load average {load}, "
        f"a bare interpreter takes {_bare_interpreter_ms():.0f} ms"
    )


def _bare_interpreter_ms() -> float:
    """Tell how fast this machine is just now: what no change of ours can shorten."""
    taken = []
    for _ in range(5):
        began = perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        taken.append((perf_counter() - began) * 1000)
    return median(taken)


def as_table(results: Results, counts: Sequence[int]) -> str:
    head = ["", "unit", *(cell for count in counts for cell in (f"N={count:,}", "")), "budget"]
    rows = [head, *_rows(results, counts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", LEGEND])


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Align values to the right, and all the rest to the left."""
    for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
        is_value = index % 2 == 0 and 0 < index < len(row) - 1
        yield cell.rjust(width) if is_value else cell.ljust(width)


def _rows(results: Results, counts: Sequence[int]) -> Iterator[list[str]]:
    for name, figure in FIGURES.items():
        values = results.of(name)
        if not values:
            continue
        cells = [cell for count in counts for cell in _cells(figure, count, values.get(count))]
        yield [figure.title, figure.unit, *cells, _budget(figure, counts)]
        if figure.original.keys() & set(counts):
            cells = [cell for count in counts for cell in (figure.original.get(count, "–"), "")]
            yield ["  the Go original", figure.unit, *cells, ""]


def _cells(figure: Figure, count: int, value: float | None) -> tuple[str, str]:
    """Write the value and its ratio to the budget."""
    if value is None:
        return "–", ""
    text = f"{value:.{figure.digits}f}"
    limit = figure.limit(count)
    if limit is None:
        return text, ""
    ratio = value / limit
    # Two digits where one would round an overrun away.
    return text, f"OVER {ratio:.2f}×" if ratio > 1 else f"{ratio:.1f}×"


def _budget(figure: Figure, counts: Sequence[int]) -> str:
    limits = {limit for count in counts if (limit := figure.limit(count)) is not None}
    return "≤ " + " or ".join(f"{limit:g}" for limit in sorted(limits)) if limits else ""


def as_json(results: Results, counts: Sequence[int], about: str) -> str:
    figures = {
        name: {
            "title": figure.title,
            "unit": figure.unit,
            "values": {str(count): value for count, value in results.of(name).items()},
            "budgets": {str(count): figure.limit(count) for count in counts},
            "original": {str(count): text for count, text in figure.original.items()},
        }
        for name, figure in FIGURES.items()
        if results.of(name)
    }
    return json.dumps({"about": about, "units": list(counts), "figures": figures}, indent=2)
