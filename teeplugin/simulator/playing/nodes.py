"""Typed access to a scenario's YAML, whose errors name file, line and key; used by its readers.

Scalars are taken as they are written, as in the plugin's own configuration file.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self, TypeVar

import yaml

from teeplugin.config.given import Given
from teeplugin.config.settings import ConfigError, nearest, shown
from teeplugin.config.validators import number
from teeplugin.config.yaml_nodes import entries, fault_at, given_at, parsed, read_text
from teeplugin.simulator.amounts import MEMORY_RULE, UNITS_RULE, Memory, Units

T = TypeVar("T")

LONGEST_SECONDS = 3600.0
"""Nothing in a scenario takes longer than an hour: more is a slip."""


class Source:
    """One file: its `name` as error lines tell it, and its root."""

    def __init__(self, name: str, root: yaml.Node) -> None:
        self.name = name
        self.root = root

    @classmethod
    def of(cls, path: Path, file: Given) -> Self:
        """Read a file; `file` is what names it.

        Raises:
            ConfigError: it can't be read, is empty, or no YAML.
        """
        name = shown(str(path))
        root = parsed(name, read_text(path, file))
        if root is None:
            raise ConfigError(f"{name} line 1: is empty: write a scenario, with `steps:`")
        return cls(name, root)

    def fault(self, node: yaml.Node, fault: str) -> ConfigError:
        """Make the error line for a node."""
        return fault_at(self.name, node, fault)

    def line(self, node: yaml.Node) -> int:
        """The line that a node begins in, counted from 1."""
        return int(node.start_mark.line) + 1

    def scalar(self, key: str, node: yaml.Node) -> Given:
        """Take a node's one value.

        Raises:
            ConfigError: it is a list, a mapping, or empty.
        """
        given = given_at(self.name, key, node)
        if given.text is None:
            raise given.refused("has no value", f"give it one, or remove `{key}:`")
        return given

    def value(self, key: str, node: yaml.Node, read: Callable[[str], T], cure: str) -> T:
        """Read a node's one value; what `read` refuses by a ValueError is told with the cure.

        Raises:
            ConfigError: it is no value that can be read.
        """
        given = self.scalar(key, node)
        try:
            return read(given.text or "")
        except ValueError as error:
            raise given.refused(str(error), cure) from None

    def seconds(self, key: str, node: yaml.Node) -> float:
        """Read a number of seconds.

        Raises:
            ConfigError: it is none.
        """
        return self.value(key, node, _seconds, f"give a number of seconds, e.g. `{key}: 2.5`")

    def units(self, key: str, node: yaml.Node) -> Units:
        """Read a number of units.

        Raises:
            ConfigError: it is none.
        """
        return self.value(key, node, Units.of, f"give {UNITS_RULE}, e.g. `{key}: all - 10`")

    def memory(self, key: str, node: yaml.Node) -> Memory:
        """Read an amount of memory.

        Raises:
            ConfigError: it is none.
        """
        return self.value(key, node, Memory.of, f"give {MEMORY_RULE}, e.g. `{key}: 10MiB`")

    def words(self, key: str, node: yaml.Node) -> list[Given]:
        """Take one value, or a list of them.

        Raises:
            ConfigError: something of it is no value.
        """
        if isinstance(node, yaml.SequenceNode):
            return [self.scalar(key, each) for each in node.value]
        return [self.scalar(key, node)]

    def entries(self, key: str, node: yaml.Node) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Go through a mapping: each key, its node, and the node of its value.

        Raises:
            ConfigError: it is no mapping, or has a key twice.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.fault(
                node, f"{key}: must be a mapping: write `KEY: VALUE` in lines below it"
            )
        yield from entries(self.name, node, str)

    def known(
        self, key: str, node: yaml.Node, keys: Mapping[str, T]
    ) -> Iterator[tuple[str, T, yaml.Node]]:
        """Go through a mapping that has these keys only: each, what it means, and its value.

        Raises:
            ConfigError: it is no mapping, or has a key twice or one that isn't known.
        """
        for name, key_node, value in self.entries(key, node):
            if name not in keys:
                meant = nearest(name, keys)
                cure = f"did you mean {meant}?" if meant else f"the keys are {', '.join(keys)}"
                raise self.fault(key_node, f"{key}: {shown(name)}: unknown key: {cure}")
            yield name, keys[name], value


def _seconds(text: str) -> float:
    seconds = number(text)
    if not isinstance(seconds, float):
        raise ValueError("not a number of seconds")  # noqa: TRY004 - a text that can't be read
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ValueError(f"must be 0 to {LONGEST_SECONDS:g}")
    return seconds
