"""Writes the tables of the chart's values anew: `python -m tests.chart.pages`.

Names, defaults and both languages' descriptions come from values.schema.json. A table stands
between `<!-- generated: values -->` and `<!-- end -->`. test_values compares.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[2] / "deploy" / "chart"
PAGES = (CHART / "README.md", CHART / "README.zh-CN.md")

_PART = re.compile(r"(<!-- generated: values -->\n).*?(<!-- end -->\n)", re.DOTALL)


def values(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give each value that the schema describes by its path, groups by what is in them."""
    for name, node in schema["properties"].items():
        if "properties" in node:
            yield from values(node, f"{path}{name}.")
        elif "description" in node:
            yield f"{path}{name}", node


def table(schema: Mapping[str, Any], *, chinese: bool) -> str:
    """Give all values in a table."""
    head = "| 值 | 默认值 | 含义 |" if chinese else "| value | default | meaning |"
    key = "x-description-zh" if chinese else "description"
    rows = [
        f"| `{path}` | `{json.dumps(node['default'], ensure_ascii=False)}` | {node[key]} |"
        for path, node in values(schema)
    ]
    return "\n".join([head, "|---|---|---|", *rows]) + "\n"


def regenerated(page: Path) -> str:
    """Give a page's text with its table made anew."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    made = table(schema, chinese=page.name.endswith("zh-CN.md"))
    return _PART.sub(lambda match: f"{match[1]}{made}{match[2]}", page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for one in PAGES:
        one.write_text(regenerated(one), encoding="utf-8")
