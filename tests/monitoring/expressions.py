"""What a PromQL expression asks for: metrics, and labels of theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import promql_parser


@dataclass(frozen=True)
class Wanted:
    """A metric that is selected, a label it is selected by, and the value if it must be equal."""

    metric: str
    label: str
    value: str | None


def _nodes(expression: str) -> Iterator[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    yield from found


def _selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    for node in _nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            yield node


def metrics(expression: str) -> set[str]:
    """Give the names of all metrics that are asked for.

    Raises:
        ValueError: the expression is not PromQL, or selects series by no name.
    """
    names = [selector.name for selector in _selectors(expression)]
    if None in names:
        raise ValueError(f"selects by no name: {expression}")
    return {name for name in names if name is not None}


def matched(expression: str) -> set[Wanted]:
    """Give the labels that series are selected by."""
    return {
        Wanted(
            selector.name or "",
            matcher.name,
            # Unequal to a value that never comes is a mistake as well.
            matcher.value
            if matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.NotEqual)
            else None,
        )
        for selector in _selectors(expression)
        for matcher in selector.matchers.matchers
    }


def grouped(expression: str) -> set[str]:
    """Give the labels that aggregations keep or drop, and that operators match by."""
    labels: set[str] = set()
    for node in _nodes(expression):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier:
            if node.modifier.matching:
                labels.update(node.modifier.matching.labels)
            labels.update(node.modifier.group_labels or ())
    return labels
