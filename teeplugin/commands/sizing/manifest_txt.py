"""Reads a manifest.txt, lines of `name: value`.

As the SDK's signing tool does: names count in any case, lines that begin with # not at all.
"""

import re
from collections.abc import Mapping

from teeplugin.commands.sizing.description import (
    MAX_UNKNOWN,
    Description,
    Written,
    describe,
    doubts_of,
)
from teeplugin.config.settings import ConfigError, shown, shown_path

KIND = "manifest.txt"
TAGS: Mapping[str, str] = {
    "gpd.ta.appID": "uuid",
    "gpd.ta.service_name": "service_name",
    "gpd.ta.dataSize": "heap_size",
    "gpd.ta.stackSize": "stack_size",
    "gpd.ta.singleInstance": "single_instance",
    "gpd.ta.multiSession": "multi_session",
    "gpd.ta.instanceKeepAlive": "instance_keep_alive",
    "gpd.ta.target_type": "target_type",
    "gpd.ta.mem_page_align": "mem_page_align",
    "gpd.ta.is_lib": "is_lib",
}
"""The properties that matter here, each with the tag of configs.xml that says the same."""

_PREFIX = "gpd.ta."
"""How a property begins that may be a misspelling of a known one."""

_NAMES = {name.lower(): name for name in TAGS}
_PROPERTY = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]+):(?P<value>.*)")
_BLANKS = " \t\xa0"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def read_manifest_txt(path: str, content: bytes) -> Description:
    """Read a manifest.txt from its content; `path` is where that came from.

    Raises:
        ConfigError: it is no manifest.txt, or a value breaks its rule.
    """
    file = shown_path(path)
    written: dict[str, Written] = {}
    unknown: dict[str, None] = {}
    for number, line in enumerate(re.split(r"\r\n|\r|\n", _text(file, content)), start=1):
        if line.startswith("#") or not line.strip():
            continue
        match = _PROPERTY.fullmatch(line)
        if match is None:
            raise ConfigError(
                f"{file} line {number}: {shown(line)}: is no property: "
                "write `name: value`, e.g. gpd.ta.dataSize: 81920"
            )
        name = _NAMES.get(match["name"].lower())
        if name is None:
            if match["name"].lower().startswith(_PREFIX) and len(unknown) < MAX_UNKNOWN:
                unknown[match["name"]] = None
            continue
        value = Written(file, number, name, match["value"].strip(_BLANKS))
        if (first := written.get(TAGS[name])) is not None:
            raise value.refused(f"stands in line {first.line} too", "remove one")
        written[TAGS[name]] = value
    if not written:
        raise ConfigError(
            f"{file}: says nothing of a TA: give a configs.xml or a manifest.txt with gpd.ta lines"
        )
    return describe(path, KIND, written, doubts_of(unknown, _NAMES, _PREFIX))


def _text(file: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file} line {line}: {_NO_UTF_8}") from None
    if control := _CONTROLS.search(text):
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(f"{file} line {line}: {_NO_TEXT}")
    return text


_NO_TEXT = "is no text in UTF-8: give a configs.xml or a manifest.txt"
_NO_UTF_8 = "its bytes aren't UTF-8: save it as UTF-8, if it is a configs.xml or a manifest.txt"
