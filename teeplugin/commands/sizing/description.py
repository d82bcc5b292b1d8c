"""What configs.xml and manifest.txt say of a TA, and the rules for it.

Sizes are bytes in plain decimal digits, as the SDK's signing tool takes them, and what a file
leaves out is that tool's default. Where the tool would go on with a value that it can't use, this
refuses it.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from teeplugin.config.settings import ConfigError, nearest, shown, shown_path
from teeplugin.policy import units

LEAST_SIZE_BYTES = 1024
"""No TA has a smaller heap or stack; who writes `80` has other units in mind than bytes."""

MAX_SIZE_BYTES = 2**32 - 1
"""The signed file keeps each size in 32 bits."""

PAGE_BYTES = 4096
"""The TEE's pages, in which sizes count where mem_page_align is true."""

MAX_NAME_LENGTH = 36
MAX_DRIVER_NAME_LENGTH = 31
"""The longest service names that the signing tool takes."""

MAX_TARGET_TYPE = 0xFFFF
"""The signing tool takes this range."""

DRIVER_TARGET_TYPE = "1"

APP_TARGET_TYPES = {"6": "a Python application", "7": "a Java application"}
"""What the SDK packs that isn't a TA in machine code, by target type."""

NO_TA_TARGET_TYPES = {DRIVER_TARGET_TYPE: "a driver", "8": "a library"}
"""What no pod loads, by target type."""

DEFAULTS: Mapping[str, str] = {
    "heap_size": "16384",
    "stack_size": "2048",
    "single_instance": "true",
    "multi_session": "false",
    "instance_keep_alive": "false",
}
"""What the signing tool writes for what a file leaves out."""

_SILENT_DEFAULTS: Mapping[str, str] = {"mem_page_align": "false", "is_lib": "false"}
"""Likewise for what few files say, so that leaving it out is worth no note."""

_ALL_DEFAULTS = {**DEFAULTS, **_SILENT_DEFAULTS}

COMPARED = ("service_name", "target_type", *_ALL_DEFAULTS)
"""The tags that two files of one TA have to agree in."""

MAX_UNKNOWN = 20
"""Of so many unknown names in a file it is asked what they were meant to be; each takes a while."""

_LEAST_LIKENESS = 0.75
"""Files may say what isn't known here: a guess as wild as for a flag would mislead.

A letter left out of a name gives 0.9 and more; two names of the SDK have less than 0.7.
"""

_MAX_DIGITS = 20
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Written(NamedTuple):
    """A value as it stands in a file: under which name, in which line."""

    file: str
    line: int
    name: str
    text: str

    def refused(self, fault: str, fix: str) -> ConfigError:
        """Make the one line that names place, value, rule and fix."""
        value = f" {shown(self.text)}" if self.text else ""
        return ConfigError(f"{self.file} line {self.line}: {self.name}{value}: {fault}: {fix}")


@dataclass(frozen=True, slots=True)
class Description:
    """A TA as its file describes it, or its two files that agree.

    `kinds` are `configs.xml` and `manifest.txt`, one for each of the `files`, which are paths as
    they were given; with `in_pages` they give heap and stack in pages, which are bytes here;
    `written` has what any of the files says, by the tags of configs.xml; `doubts` are notes of what
    was probably meant to be such a tag.
    """

    files: tuple[str, ...]
    kinds: tuple[str, ...]
    uuid: str | None
    service_name: str | None
    heap_bytes: int
    stack_bytes: int
    single_instance: bool
    multi_session: bool
    keep_alive: bool
    target_type: str | None
    in_pages: bool
    is_library: bool
    written: Mapping[str, Written]
    doubts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call it; in a line only as `shown`, because it may be a path."""
        return self.service_name or self.uuid or self.files[0]

    @property
    def left_out(self) -> tuple[str, ...]:
        """What no file says, so that the default counts."""
        return tuple(tag for tag in DEFAULTS if tag not in self.written)

    def place(self, tag: str) -> str:
        """Tell where the first file says it, and under which name."""
        value = self.written.get(tag)
        if value is None:
            return f"{shown_path(self.files[0])}: the default of {tag}"
        return f"{value.file} line {value.line}: {value.name}"

    def value(self, tag: str) -> str | None:
        """Give what counts for a tag, in a form that can be compared."""
        text = self.written[tag].text if tag in self.written else _ALL_DEFAULTS.get(tag)
        if text is None or tag not in {"target_type", *_ALL_DEFAULTS}:
            return text
        return str(int(text)) if text.isdigit() else text.lower()


def doubts_of(
    unknown: Iterable[str], known: Mapping[str, str], prefix: str = ""
) -> tuple[str, ...]:
    """Note which unknown names are near misses of known ones.

    `known` has the names by how they are in lower case; the prefix that all have counts for
    nothing, else every name would be near.
    """
    from difflib import SequenceMatcher  # noqa: PLC0415 - only for a name that isn't known

    candidates = {lower.removeprefix(prefix): name for lower, name in known.items()}
    meant = {name: nearest(name[len(prefix) :], candidates) for name in unknown}
    return tuple(
        f"{shown(name)} isn't known: did you mean {candidates[near]}?"
        for name, near in meant.items()
        if near is not None
        and SequenceMatcher(None, name[len(prefix) :].lower(), near).ratio() >= _LEAST_LIKENESS
    )


def describe(
    path: str, kind: str, written: Mapping[str, Written], doubts: tuple[str, ...] = ()
) -> Description:
    """Check what was read, and fill in the defaults.

    `kind` is `configs.xml` or `manifest.txt`; `written` has what was read, by configs.xml's tags.

    Raises:
        ConfigError: a value breaks its rule.
    """
    in_pages = _truth(written, "mem_page_align")
    return Description(
        files=(path,),
        kinds=(kind,),
        uuid=_uuid(written["uuid"]) if "uuid" in written else None,
        service_name=_name(written),
        heap_bytes=_size(written, "heap_size", in_pages=in_pages),
        stack_bytes=_size(written, "stack_size", in_pages=in_pages),
        single_instance=_truth(written, "single_instance"),
        multi_session=_truth(written, "multi_session"),
        keep_alive=_truth(written, "instance_keep_alive"),
        target_type=_target_type(written["target_type"]) if "target_type" in written else None,
        in_pages=in_pages,
        is_library=_truth(written, "is_lib"),
        written=written,
        doubts=doubts,
    )


def _size(written: Mapping[str, Written], tag: str, *, in_pages: bool) -> int:
    value = written.get(tag)
    unit_bytes = PAGE_BYTES if in_pages else 1
    if value is None:
        return int(DEFAULTS[tag]) * unit_bytes
    text = value.text
    example = "write bytes without a unit, e.g. 81920"
    if not text:
        raise value.refused("has no value", example)
    if re.fullmatch(r"-[0-9]+", text):
        raise value.refused("is negative", example)
    if not re.fullmatch(r"[0-9]+", text):
        raise value.refused("is not a whole number of bytes", _in_bytes(text) or example)
    if len(text) > _MAX_DIGITS or int(text) > MAX_SIZE_BYTES:
        raise value.refused(
            f"is more than {MAX_SIZE_BYTES}, the most that a signed TA can say", example
        )
    if int(text) * unit_bytes < LEAST_SIZE_BYTES:
        raise value.refused(
            f"is less than {LEAST_SIZE_BYTES} bytes, which no TA can do with",
            f"write bytes, e.g. {max(1, int(text)) * units.KIB} for {max(1, int(text))} KB",
        )
    return int(text) * unit_bytes


def _in_bytes(text: str) -> str | None:
    """Give the fix for a size with a unit."""
    if len(text) > _MAX_DIGITS:
        return None
    try:
        size_bytes = units.parse_size(text)
    except ValueError:
        return None
    return f"write bytes without a unit, {size_bytes}"


def _truth(written: Mapping[str, Written], tag: str) -> bool:
    value = written.get(tag)
    text = (_ALL_DEFAULTS[tag] if value is None else value.text).lower()
    if value is not None and text not in {"true", "false"}:
        raise value.refused("is neither true nor false", "write true or false")
    return text == "true"


def _uuid(value: Written) -> str:
    if not _UUID.fullmatch(value.text):
        raise value.refused("is no UUID", "write it like e3d37f4a-f24c-48d0-8884-3bdd6c44e988")
    return str(uuid.UUID(value.text))


def _name(written: Mapping[str, Written]) -> str | None:
    value = written.get("service_name")
    if value is None:
        return None
    target_type = written.get("target_type")
    is_driver = target_type is not None and target_type.text == DRIVER_TARGET_TYPE
    longest = MAX_DRIVER_NAME_LENGTH if is_driver else MAX_NAME_LENGTH
    signs = "_" if is_driver else "_-"
    if not re.fullmatch(rf"[A-Za-z0-9{signs}]{{1,{longest}}}", value.text):
        raise value.refused(
            f"the signing tool takes 1 to {longest} letters A-Z a-z, digits, {' and '.join(signs)}",
            "write a name, e.g. demo_ta",
        )
    return value.text


def _target_type(value: Written) -> str:
    if not re.fullmatch(r"[0-9]{1,9}", value.text) or int(value.text) > MAX_TARGET_TYPE:
        raise value.refused(
            f"is not a whole number up to {MAX_TARGET_TYPE}", "write 0, or leave it out"
        )
    return str(int(value.text))
