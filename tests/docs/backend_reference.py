"""Writes docs/backends-api.md from base.py's own text: `python -m tests.docs.backend_reference`."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

from teeplugin_backends import base

PAGE = Path(__file__).parents[2] / "docs" / "backends-api.md"

_HEAD = """\
# API of a backend

What `teeplugin_backends.base` has, in the order of the file, with its own words.
[Write a backend](backends.md) shows how it is used. The page is made by
`python -m tests.docs.backend_reference`, and a test compares it.
"""
_ASKED = ("__aenter__", "__aexit__")


def reference() -> str:
    """The page."""
    source = Path(inspect.getfile(base)).read_text(encoding="utf-8")
    body = ast.parse(source).body
    return "\n".join((_HEAD, *_entries(body)))


def _entries(body: Sequence[ast.stmt]) -> Iterator[str]:
    constants = list(_assigned(body))
    yield "## Constants\n\n" + "".join(
        f"- `{name}`{f': {text}' if text else ''}\n" for name, text in constants
    )
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield _class(node)


def _class(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(each) for each in node.bases)
    parts = [f"## {node.name}\n", f"`class {node.name}({bases})`\n" if bases else ""]
    parts.append(f"{_words(ast.get_docstring(node))}\n")
    parts += [f"- `{name}`{f': {text}' if text else ''}" for name, text in _assigned(node.body)]
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(each.name):
            parts.append(_method(each))
    return "\n".join(filter(None, parts)) + "\n"


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    words = _words(ast.get_docstring(node)).replace("\n", "\n  ")
    if any(ast.unparse(each) == "property" for each in node.decorator_list):
        return f"- `{node.name}: {ast.unparse(node.returns) if node.returns else ''}`: {words}"
    keyword = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    arguments = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)][1:]
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"- `{keyword}{node.name}({', '.join(arguments)}){returns}`: {words}"


def _assigned(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Constants and fields, with the text that stands below each."""
    for at, node in enumerate(body):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if not _is_public(node.target.id):
            continue
        below = body[at + 1] if at + 1 < len(body) else None
        has_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        text = str(below.value.value) if has_text else ""  # type: ignore[union-attr]  # seen above
        value = f" = {ast.unparse(node.value)}" if node.value else ""
        yield f"{node.target.id}: {ast.unparse(node.annotation)}{value}", " ".join(text.split())


def _words(text: str | None) -> str:
    """A docstring as paragraphs of a line each."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or name in _ASKED


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
