"""Writes docs/backends-api.md from the code's text: `python -m tests.docs.backend_reference`."""

import ast
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TypeGuard

from teeplugin_backends import base, options
from teeplugin_backends.conformance import played

PAGE = Path(__file__).parents[2] / "docs" / "backends-api.md"

_HEAD = """\
# API of a backend

What a backend and its tests import, in the order of the files, with their own words.
[Write a backend](backends.md) shows how it is used. The page is made by
`python -m tests.docs.backend_reference`, and a test compares it.

- [`teeplugin_backends.base`](#teeplugin_backendsbase): types, errors, the class to subclass
- [`teeplugin_backends.options`](#teeplugin_backendsoptions): kinds of options, and their parser
- [`teeplugin_backends.conformance`](#teeplugin_backendsconformance): the class to subclass in tests
"""
_OPTIONS = """\
`Text` is `str` or `str | None`, as the default is; `T` is any type; `Declared` is a dataclass
whose fields these functions make.
"""
_CONFORMANCE = """\
What a subclass of `BackendConformance` provides.
[Test it](backends.md#7-test-it-with-the-conformance-kit)
lists its checks.
"""
_ASKED = ("__aenter__", "__aexit__")


def reference() -> str:
    """The page."""
    parts = [_HEAD, _title("base"), *_entries(_body(base))]
    functions = (each for each in _body(options) if isinstance(each, ast.FunctionDef))
    lines = "".join(f"{_method(each)}\n" for each in functions if _is_public(each.name))
    parts += [_title("options"), _OPTIONS, lines]
    (kit,) = (each for each in _body(played) if _is_class(each, "PlayedTee"))
    kit.name, kit.bases = "BackendConformance", []
    parts += [_title("conformance"), _CONFORMANCE, _class(kit)]
    return "\n".join(parts)


def _title(module: str) -> str:
    return f"## teeplugin_backends.{module}\n"


def _body(module: ModuleType) -> Sequence[ast.stmt]:
    return ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8")).body


def _is_class(node: ast.stmt, name: str) -> TypeGuard[ast.ClassDef]:
    return isinstance(node, ast.ClassDef) and node.name == name


def _entries(body: Sequence[ast.stmt]) -> Iterator[str]:
    constants = list(_assigned(body))
    yield "### Constants\n\n" + "".join(
        f"- `{name}`{f': {text}' if text else ''}\n" for name, text in constants
    )
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield _class(node)


def _class(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(each) for each in node.bases)
    parts = [f"### {node.name}\n", f"`class {node.name}({bases})`\n" if bases else ""]
    parts.append(f"{_words(ast.get_docstring(node))}\n")
    parts += [f"- `{name}`{f': {text}' if text else ''}" for name, text in _assigned(node.body)]
    for each in node.body:
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and _is_public(each.name):
            parts.append(_method(each))
    return "\n".join(filter(None, parts)) + "\n"


def _method(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    words = _words(ast.get_docstring(node)).replace("\n", "\n  ")
    if any(ast.unparse(each) == "property" for each in node.decorator_list):
        returned = ast.unparse(node.returns) if node.returns else ""
        return f"- `{node.name}: {returned}` (property): {words}"
    keyword = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    arguments = ast.unparse(node.args).removeprefix("self").removeprefix("cls").removeprefix(", ")
    # What a default is called in the file, its reader has not.
    arguments = re.sub(r"\b_[A-Z_]+\b", lambda name: repr(getattr(options, name[0])), arguments)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"- `{keyword}{node.name}({arguments}){returns}`: {words}"


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
    return (not name.startswith("_") or name in _ASKED) and name != "pytest_generate_tests"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
