"""Reads the values of a scenario from YAML nodes: types and a base class for pydantic models.

A mistake is a ConfigError with its line, which pydantic lets through.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, Any, NoReturn, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, model_validator
from pydantic import ModelWrapValidatorHandler as Handler

from teeplugin.config.given import Given
from teeplugin.config.settings import SETTINGS, nearest, shown
from teeplugin.config.sources import validated
from teeplugin.config.validators import number, whole_number
from teeplugin.config.yaml_nodes import entries, fault_at, given_at
from teeplugin.simulator.amounts import Memory, Units

LONGEST_SECONDS = 3600.0
"""Nothing in a scenario takes longer than an hour: more is a slip."""

UNSET: Any = None
"""The default of optional keys. Their types have no None: a key without a value is a mistake."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A value in a file: the file's name, what error lines call the value, and its node."""

    file: str
    key: str
    node: yaml.Node

    def refuse(self, fault: str, node: yaml.Node | None = None) -> NoReturn:
        """Raise the ConfigError for this value, or for a `node` within."""
        raise fault_at(self.file, node or self.node, f"{self.key}: {fault}")

    @property
    def line(self) -> int:
        """The line that it begins in, counted from 1."""
        return int(self.node.start_mark.line) + 1

    def given(self) -> Given:
        """Take it as a text."""
        given = given_at(self.file, self.key, self.node)
        if given.text is None:
            self.refuse(f"null: has no value: give it one, or remove `{self.key}:`")
        return given

    def items(self) -> "list[Entry]":
        """Take it as a list; a single value is a list of one."""
        nodes = self.node.value if isinstance(self.node, yaml.SequenceNode) else [self.node]
        return [replace(self, node=node) for node in nodes]

    def mapping(self) -> "dict[str, Entry]":
        """Take it as a mapping, each key once."""
        found = entries(self.file, self.key, self.node)
        return {key: Entry(self.file, key, node) for key, _, node in found}

    def words(self) -> "Iterator[Entry]":
        """Give the keys of a mapping, or the items of a list."""
        if isinstance(self.node, yaml.MappingNode):
            return (replace(self, node=key) for key, _ in self.node.value)
        return iter(self.items())


class Part(BaseModel):
    """A mapping of a scenario; its fields, by their aliases, are the keys that it may have.

    Fields that are excluded aren't keys.
    """

    model_config = ConfigDict(frozen=True)
    _entry: Entry = PrivateAttr(UNSET)
    _written: dict[str, Entry] = PrivateAttr(default_factory=dict)

    @classmethod
    def known_keys(cls) -> list[str]:
        """Its keys as they are written."""
        fields = cls.model_fields.items()
        return [field.alias or name for name, field in fields if not field.exclude]

    def words(self) -> Iterator[Entry]:
        """Give every word below its keys."""
        return chain.from_iterable(entry.words() for entry in self._written.values())

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, data: Any, handler: Handler[Self]) -> Self:
        if not isinstance(data, Entry):  # made by code
            return handler(data)
        written, known = data.mapping(), cls.known_keys()
        for key, _ in data.node.value:
            if key.value not in known:
                meant = nearest(key.value, known)
                fix = f"did you mean {meant}?" if meant else f"the keys are {', '.join(known)}"
                data.refuse(f"{shown(key.value)}: unknown key: {fix}", key)
        part = handler(written)
        part._entry, part._written = data, written  # noqa: SLF001 - its own
        return part


def read_by(read: Callable[[str], object]) -> BeforeValidator:
    """Make a validator of a function from text to value, whose ValueErrors name rule and fix."""

    def validate(entry: Entry) -> object:
        text = entry.given().text or ""
        try:
            return read(text)
        except ValueError as error:
            entry.refuse(f"{shown(text)}: {error}")

    return BeforeValidator(validate)


def one_of(*words: str, fault: str = "not one of its words", also: str = "") -> BeforeValidator:
    """Make a validator of a choice; the fix names `also` as well."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{fault}: give one of {', '.join(filter(None, (also, *words)))}")
        return text

    return read_by(read)


def whole(least: int, most: int, fault: str) -> BeforeValidator:
    """Make a validator of a whole number within bounds."""

    def read(text: str) -> int:
        value = whole_number(text)
        if not (isinstance(value, int) and least <= value <= most):
            raise ValueError(f"{fault}: give {least} to {most}")
        return value

    return read_by(read)


def setting(key: str) -> BeforeValidator:
    """Make a validator of the rules that the plugin has for one of its settings."""
    name = SETTINGS[key].attribute
    return BeforeValidator(lambda entry: getattr(validated({key: entry.given()}, {}, ()), name))


def _text(text: str) -> str:
    try:
        return text.encode().decode()
    except UnicodeEncodeError:
        raise ValueError("not UTF-8: write it in UTF-8") from None


def _seconds(text: str) -> float:
    seconds = number(text)
    if isinstance(seconds, float) and 0 <= seconds <= LONGEST_SECONDS:
        return seconds
    fault = f"must be 0 to {LONGEST_SECONDS:g}" if seconds != text else "not a number of seconds"
    raise ValueError(f"{fault}: give a number of seconds, like 2.5")


def _bytes(text: str) -> int:
    memory = Memory.of(text)
    if memory.units is not None:
        raise ValueError("is in units: give a size, like 64MiB")
    return memory.size_bytes


Text = Annotated[str, read_by(_text)]
Words = Annotated[tuple[Text, ...], BeforeValidator(Entry.items)]
Seconds = Annotated[float, read_by(_seconds)]
UnitsText = Annotated[Units, read_by(Units.of)]
MemoryText = Annotated[Memory, read_by(Memory.of)]
Bytes = Annotated[int, read_by(_bytes)]
