"""YAML files as nodes with line numbers: what config_file and the simulator's scenarios share.

Scalars are taken as they are written, not as YAML 1.1 would read them (`010` as 8, `1:30` as
90), so that a value means the same in a flag, a variable and the file. Nothing is constructed:
only YAML's nodes are looked at.
"""

import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from teeplugin.config.given import Given
from teeplugin.config.settings import ConfigError, shown

MAX_FILE_BYTES = 64 * 1024
"""A configuration has hundreds of bytes; PyYAML takes 1 s for 64 KiB of the worst, and meanwhile
the plugin, which may be reading its file anew, does nothing else."""

MAX_FLOW_DEPTH = 32
"""Brackets within brackets: PyYAML's time grows with the square of them."""

_TAG = "tag:yaml.org,2002:"
NULL, BOOL = f"{_TAG}null", f"{_TAG}bool"
_PLAIN_TAGS = {f"{_TAG}{kind}" for kind in ("str", "int", "float", "timestamp", "value", "merge")}


def read_text(path: Path, file: Given) -> str:
    """Read a file of at most 64 KiB; `file` is what named it, for the error lines.

    Raises:
        ConfigError: it can't be read, is too long, or no UTF-8.
    """
    fix = "give a readable YAML file, or leave it out"
    try:
        # Looked at before it is opened: a pipe would wait for its writer, a device may act.
        if not stat.S_ISREG(path.stat().st_mode):
            raise file.refused("not a regular file", fix)
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise file.refused(f"can't be read ({error.strerror})", fix) from None
    if len(content) > MAX_FILE_BYTES:
        raise file.refused("more than 64 KiB: not a configuration", fix)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise file.refused(f"not UTF-8 in line {line}", "save the file as UTF-8") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's, with a bound on brackets within brackets."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - PyYAML's name
        """Take note of a bracket that opens.

        Raises:
            yaml.scanner.ScannerError: there are too many open ones.
        """
        if self.flow_level >= MAX_FLOW_DEPTH:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(TokenClass)


def parsed(name: str, text: str) -> yaml.Node | None:
    """Parse a text into nodes; None where there is nothing but comments.

    Raises:
        ConfigError: it is no YAML.
    """
    try:
        # PyYAML builds nodes only; types-PyYAML calls the result Any or None.
        root: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        problem = error.problem or error.context or "unreadable"
        raise ConfigError(f"{name}{line}: broken YAML: {problem}: correct the line") from None
    except yaml.reader.ReaderError as error:
        line_number = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{name} line {line_number}: broken YAML: a character that YAML forbids: remove it"
        ) from None
    except (ValueError, OverflowError):  # PyYAML's own slips over numbers beyond all bounds
        raise ConfigError(
            f"{name}: broken YAML: an escape like \\UFFFFFFFF, or a %YAML line, has a number that "
            "means nothing: remove it"
        ) from None
    except RecursionError:
        raise ConfigError(
            f"{name}: broken YAML: nested too deeply: write one `key: value` a line"
        ) from None
    return root


def fault_at(name: str, node: yaml.Node, fault: str) -> ConfigError:
    """Make the error line for a node of the file `name`."""
    return ConfigError(f"{name} line {node.start_mark.line + 1}: {fault}")


def entries(
    name: str, under: str, mapping: yaml.Node, canonical: Callable[[str], str] = str
) -> Iterable[tuple[str, yaml.ScalarNode, yaml.Node]]:
    """Go through the mapping below a key, refusing what YAML allows and nobody means: a key twice.

    Two keys are the same if `canonical` makes the same of them.

    Raises:
        ConfigError: it is no mapping, or a key is given twice, or is no word.
    """
    if not isinstance(mapping, yaml.MappingNode):
        rule = "must be a mapping: write `KEY: VALUE` in lines below it"
        raise fault_at(name, mapping, f"{under}: {rule}")
    lines: dict[str, int] = {}
    for key_node, node in mapping.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise fault_at(name, key_node, "a key must be a word: write it as `key: value`")
        key = str(key_node.value)
        if (first := lines.get(canonical(key))) is not None:
            fault = f"{shown(key)}: given twice, first in line {first}: remove one"
            raise fault_at(name, key_node, fault)
        lines[canonical(key)] = key_node.start_mark.line + 1
        yield key, key_node, node


def given_at(name: str, key: str, node: yaml.Node) -> Given:
    """Take a node's one value with its place.

    Raises:
        ConfigError: it is a list or a mapping, or has a tag.
    """
    line = f"{name} line {node.start_mark.line + 1}"
    if not isinstance(node, yaml.ScalarNode):
        kind = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        raise ConfigError(f"{line}: {key}: must be one value, not {kind}: write `{key}: VALUE`")
    is_no_bool = node.tag == BOOL and node.value.lower() not in yaml.SafeLoader.bool_values
    if node.tag not in _PLAIN_TAGS | {NULL, BOOL} or is_no_bool:
        raise ConfigError(f"{line}: {key}: has the tag {shown(node.tag)}: remove the tag")
    return Given(
        None if node.tag == NULL else str(node.value),
        origin=f"file {line}",
        place=f"{line}: {key}: ",
        spelling=f"{key}: ",
    )
