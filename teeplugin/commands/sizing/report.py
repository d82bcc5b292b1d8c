"""An estimate as a table for people, or as data for JSON and YAML."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from teeplugin.cli.layout import cell, columns_of, padded, wrapped
from teeplugin.commands.sizing.estimate import Application, Estimate
from teeplugin.commands.sizing.memory import (
    CONTAINER,
    Certainty,
    Part,
    PartName,
    kib_text,
    total_bytes,
    units_for,
)
from teeplugin.commands.sizing.precision import USUAL_PRECISIONS_KB, wasted_bytes
from teeplugin.config.settings import shown_path
from teeplugin.policy.units import KIB, counted
from teeplugin.primitives.document import document

_MEANINGS: Mapping[Certainty, str] = {
    Certainty.STATED: "it is in the TA's files",
    Certainty.READ: "it is in the TA's binary",
    Certainty.ESTIMATED: "by a formula not verified on hardware",
    Certainty.ASSUMED: "an estimate or a default: measure it if it matters",
}
_ROUNDING = "rounding"
_FORMULA = 2
_LEAST_FORMULA_COLUMNS = 16
_Row = tuple[str, str, str, str]


def as_data(estimate: Estimate) -> dict[str, Any]:
    """Give the estimate as what JSON and YAML can write; bytes but where a key says otherwise."""
    rounded = estimate.rounded
    facts = {
        "resource_name": estimate.resource_name,
        "units": rounded.units,
        "precision_kb": estimate.precision_kb,
        "unit_bytes": rounded.unit_bytes,
        "needed_bytes": rounded.needed_bytes,
        "asked_bytes": rounded.asked_bytes,
        "waste_percent": rounded.waste_percent,
        "parts": _by_name(estimate) | {_ROUNDING: rounded.rounding_bytes},
        "certainty": _by_certainty(estimate),
        "tas": [_application_data(each) for each in estimate.applications],
        "container": [_part_data(CONTAINER)],
        "precisions": _precisions(estimate),
        "least_waste_precision_kb": estimate.least_waste_precision_kb,
    }
    return document("size", facts)


def _by_name(estimate: Estimate) -> dict[str, int]:
    return {
        str(name): total_bytes(part for part in estimate.parts if part.name is name)
        for name in PartName
    }


def _by_certainty(estimate: Estimate) -> dict[str, int]:
    return {
        str(each): total_bytes(part for part in estimate.parts if part.certainty is each)
        for each in Certainty
    }


def _application_data(application: Application) -> dict[str, Any]:
    description, load = application.description, application.load
    return {
        "uuid": description.uuid,
        "service_name": description.service_name,
        "files": list(description.files),
        "sessions": load.sessions,
        "instances": load.instances,
        "keep_alive": description.keep_alive,
        "needed_bytes": application.needed_bytes,
        "parts": [_part_data(part) for part in application.parts],
        "notes": list(application.notes()),
    }


def _part_data(part: Part) -> dict[str, Any]:
    return {
        "part": str(part.name),
        "bytes": part.size_bytes,
        "formula": part.formula,
        "certainty": str(part.certainty),
    }


def _precisions(estimate: Estimate) -> list[dict[str, Any]]:
    """Compare precisions: the units of all TAs together, each in a container of its own."""
    sizes = estimate.alone_bytes
    compared = {estimate.precision_kb, estimate.least_waste_precision_kb, *USUAL_PRECISIONS_KB}
    rows = []
    for precision_kb in sorted(compared):
        units = sum(units_for(size, precision_kb * KIB) for size in sizes)
        share = wasted_bytes(sizes, precision_kb) / (units * precision_kb * KIB)
        rows.append(
            {
                "precision_kb": precision_kb,
                "units": units,
                "waste_percent": round(100 * share, 1),
            }
        )
    return rows


def as_table(estimate: Estimate, width: int | None = None) -> str:
    """Write the estimate for people: wrapped to a terminal's width, or with a line for each row."""
    return "".join(f"{line.rstrip()}\n" for line in _lines(estimate, width))


def _lines(estimate: Estimate, width: int | None) -> Iterator[str]:
    rounded = estimate.rounded
    blocks = [(_heading(each), _rows(each.parts)) for each in estimate.applications]
    rounding = f"up to {counted(rounded.units, 'unit')} of {estimate.precision_kb} KiB"
    own = [*_rows([CONTAINER]), (_ROUNDING, kib_text(rounded.rounding_bytes), rounding, "")]
    rows = [row for _, rows in blocks for row in rows] + own
    table = _Table(rows, width)
    for application, (heading, part_rows) in zip(estimate.applications, blocks, strict=True):
        yield from wrapped(heading, width, indent=4)
        yield from table.lines(part_rows)
        for note in application.notes():
            yield from _indented(f"note: {note}", width)
        yield ""
    yield "the container"
    yield from table.lines(own)
    yield ""
    yield f"{estimate.resource_name}: {rounded.units}"
    for line in _summary(estimate):
        yield from _indented(line, width)
    yield ""
    yield from _precision_lines(estimate)


def _indented(text: str, width: int | None) -> Iterator[str]:
    """Indent a text by 2, and its further lines by 4; spaces at its beginning are kept."""
    margin = " " * (2 + len(text) - len(text.lstrip()))
    first, *further = wrapped(text.lstrip(), width, head=len(margin), indent=4)
    yield margin + first
    yield from further


class _Table:
    """Rows in columns, of which the formula's is narrower where the terminal is."""

    def __init__(self, rows: Sequence[_Row], width: int | None) -> None:
        self._columns = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
        self._is_wrapped = width is not None
        if width is not None:
            excess = sum(self._columns) + 2 * len(self._columns) - width
            formula = self._columns[_FORMULA]
            self._columns[_FORMULA] = min(formula, max(_LEAST_FORMULA_COLUMNS, formula - excess))

    def lines(self, rows: Sequence[_Row]) -> Iterator[str]:
        """Write these rows; a formula that doesn't fit continues in the next line."""
        for name, memory, formula, certainty in rows:
            formula_columns = self._columns[_FORMULA]
            first, *further = cell(formula, formula_columns if self._is_wrapped else None)
            head = f"  {padded(name, self._columns[0])}  {memory.rjust(self._columns[1])}  "
            yield f"{head}{padded(first, formula_columns)}  {certainty}"
            yield from (" " * len(head) + line for line in further)


def _heading(application: Application) -> str:
    description, load = application.description, application.load
    identity = " ".join(filter(None, (description.service_name, description.uuid)))
    uses = f"{_count(load.sessions, 'session')}, {_count(load.instances, 'instance')}"
    files = ", ".join(shown_path(file) for file in description.files)
    return f"{identity or 'a TA without a name'}: {uses} ({files})"


def _rows(parts: Sequence[Part]) -> list[_Row]:
    return [
        (str(part.name), kib_text(part.size_bytes), part.formula, str(part.certainty))
        for part in parts
    ]


def _summary(estimate: Estimate) -> Iterator[str]:
    rounded = estimate.rounded
    yield (
        f"{kib_text(rounded.asked_bytes)}: {kib_text(rounded.needed_bytes)} needed, "
        f"{rounded.waste_percent} % of the whole is waste by rounding"
    )
    for certainty, meaning in _MEANINGS.items():
        if size_bytes := _by_certainty(estimate)[certainty]:
            share = f"{100 * size_bytes / rounded.needed_bytes:.1f} %"
            yield f"{share:>7} {certainty}: {meaning}"


def _precision_lines(estimate: Estimate) -> Iterator[str]:
    whose = "this TA" if len(estimate.applications) == 1 else "each of these TAs"
    yield f"precisions, for {whose} in a container of its own"
    yield "  precision    units   waste"
    for row in _precisions(estimate):
        marks = {
            estimate.precision_kb: "this one",
            estimate.least_waste_precision_kb: "wastes least",
        }
        if estimate.precision_kb == estimate.least_waste_precision_kb:
            marks[estimate.precision_kb] = "this one, which wastes least"
        mark = marks.get(row["precision_kb"], "")
        percent = f"{row['waste_percent']:.1f} %"
        yield f"{row['precision_kb']:>7} KiB {row['units']:>8} {percent:>9}  {mark}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
