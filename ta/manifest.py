"""Reads and writes what describes a TA: configs.xml, manifest.txt, and one value of either.

Standard library only, for Python 3.9 and newer: it runs where the SDK does.
"""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from typing import NamedTuple

ROOT = "ConfigInfo"
BASIC = "TA_Basic_Info"
MANIFEST = "TA_Manifest_Info"

# The property of manifest.txt for each tag of configs.xml, by the SDK's own table of them.
PROPERTIES = {
    BASIC: {
        "uuid": "gpd.ta.appID",
        "service_name": "gpd.ta.service_name",
    },
    MANIFEST: {
        "single_instance": "gpd.ta.singleInstance",
        "multi_session": "gpd.ta.multiSession",
        "multi_command": "gpd.ta.multicommand",
        "instance_keep_alive": "gpd.ta.instanceKeepAlive",
        "heap_size": "gpd.ta.dataSize",
        "stack_size": "gpd.ta.stackSize",
        "target_type": "gpd.ta.target_type",
        "mem_page_align": "gpd.ta.mem_page_align",
        "sdk_version": "gpd.sdk.version",
        "target_version": "gpd.elf.target_version",
        "distribution": "gpd.ta.distribution",
        "hardWareType": "gpd.ta.hardWareType",
        "objectEnumEnable": "gpd.ta.objectEnumEnable",
        "is_lib": "gpd.ta.is_lib",
        "is_tee_service": "gpd.ta.is_tee_service",
    },
}
NAMES = {tag: name for tags in PROPERTIES.values() for tag, name in tags.items()}

SIZES = ("heap_size", "stack_size")
SWITCHES = (
    *("single_instance", "multi_session", "multi_command", "instance_keep_alive"),
    *("mem_page_align", "is_lib"),
)

# The signing tool refuses other names; a driver's may have 31 characters, but this is no driver.
SERVICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,36}")
SERVICE_NAME_RULE = "1 to 36 letters A-Z a-z, digits, - and _"


class FaultError(Exception):
    """Something can't be signed or read; the message is one line that says why."""


class Stated(NamedTuple):
    """What a file says: normal values by tag, and notes on what was skipped."""

    values: dict[str, str]
    notes: list[str]


def normal(tag: str, text: str) -> str:
    """Write a value in the one form that is compared and written.

    Raises:
        FaultError: the value breaks its rule.
    """
    text = text.strip()
    if tag == "uuid":
        try:
            if len(text) == len(str(uuid.UUID(text))):
                return str(uuid.UUID(text))
        except ValueError:
            pass
        raise FaultError(f"uuid is {text!r}, which is no UUID")
    if tag in SIZES:
        if not (text.isascii() and text.isdigit()) or int(text) == 0:
            raise FaultError(f"{tag} is {text!r}, which is no number of bytes")
        return str(int(text))
    if tag in SWITCHES:
        if text.lower() not in {"true", "false"}:
            raise FaultError(f"{tag} is {text!r}, neither true nor false")
        return text.lower()
    if tag == "service_name" and not SERVICE_NAME.fullmatch(text):
        raise FaultError(
            f"service_name is {text!r}, which the signing tool refuses: it takes "
            f"{SERVICE_NAME_RULE}: apply for a certificate with such a name"
        )
    if not text or any(ord(character) < ord(" ") for character in text):
        raise FaultError(f"{tag} is {text!r}, which can't stand in a manifest")
    return text


def read_configs(text: bytes) -> Stated:
    """Read a configs.xml; what has no property in a manifest is skipped with a note.

    Raises:
        FaultError: it is no configs.xml, or a value breaks its rule.
    """
    try:
        root = ET.fromstring(text)  # noqa: S314 - the developer's own file
    except ET.ParseError as error:
        raise FaultError(f"not XML: {error}") from None
    if root.tag != ROOT:
        raise FaultError(f"its outermost element is {root.tag}, not {ROOT}")
    pairs, skipped = [], []
    for part in root:
        known = PROPERTIES.get(part.tag)
        if known is None:
            skipped.append(part.tag)
            continue
        skipped += [element.tag for element in part if element.tag not in known]
        pairs += [(each.tag, each.text or "") for each in part if each.tag in known]
    return _stated(pairs, skipped)


def read_manifest(text: bytes) -> Stated:
    """Read a manifest.txt; names count in any case, as for the signing tool.

    Raises:
        FaultError: it is no manifest.txt, or a value breaks its rule.
    """
    tags = {name.lower(): tag for tag, name in NAMES.items()}
    pairs, skipped = [], []
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise FaultError("it is no text in UTF-8") from None
    for line in lines:
        if line.startswith("#") or not line.strip():
            continue
        name, colon, value = line.partition(":")
        if not colon:
            raise FaultError(f"{line!r} is no line of the form `name: value`")
        tag = tags.get(name.strip().lower())
        if tag is None:
            skipped.append(name.strip())
        else:
            pairs.append((tag, value))
    return _stated(pairs, skipped)


def _stated(pairs: list[tuple[str, str]], skipped: list[str]) -> Stated:
    values: dict[str, str] = {}
    for tag, text in pairs:
        if tag in values:
            raise FaultError(f"{tag} stands there twice")
        values[tag] = normal(tag, text)
    notes = [f"{name} has no property that is known here: skipped" for name in skipped]
    return Stated(values, notes)


def manifest_text(values: dict[str, str]) -> str:
    """Write a manifest.txt."""
    return "".join(f"{NAMES[tag]}: {values[tag]}\n" for tag in NAMES if tag in values)


def configs_text(values: dict[str, str]) -> str:
    """Write a configs.xml, as one applies for a certificate with."""
    root = ET.Element(ROOT)
    for part, tags in PROPERTIES.items():
        parent = ET.SubElement(root, part)
        for tag in tags:
            if tag in values:
                ET.SubElement(parent, tag).text = values[tag]
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'
