"""Makes the TA's manifest.txt from the configs.xml its certificate was issued for; ta/Makefile.

A TA whose manifest differs from its certificate is signed without a word and refused on the server,
so everything that can differ is compared here. Standard library only: it runs where the SDK does.
"""  # noqa: INP001 - a tool on its own beside its Makefile

from __future__ import annotations

import argparse
import sys
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = "ConfigInfo"
BASIC = "TA_Basic_Info"
MANIFEST = "TA_Manifest_Info"

# Which property of manifest.txt says what a tag of configs.xml says: the SDK's names for both.
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
    },
}
MAX_SERVICE_NAME = 64


class MismatchError(Exception):
    """The configuration can't be signed for; the message is one line that says why."""


def normal(tag: str, text: str) -> str:
    """Write a value the one way it is compared and written in."""
    text = text.strip()
    if tag == "uuid":
        try:
            if len(text) == len(str(uuid.UUID(text))):
                return str(uuid.UUID(text))
        except ValueError:
            pass
        raise MismatchError(f"uuid is {text!r}, which is no UUID")
    if tag in {"heap_size", "stack_size"}:
        if not (text.isascii() and text.isdigit()) or int(text) == 0:
            raise MismatchError(f"{tag} is {text!r}, which is no number of bytes")
        return str(int(text))
    if tag in {"single_instance", "multi_session", "multi_command", "instance_keep_alive"}:
        if text.lower() not in {"true", "false"}:
            raise MismatchError(f"{tag} is {text!r}, neither true nor false")
        return text.lower()
    if not text or any(ord(character) < ord(" ") for character in text):
        raise MismatchError(f"{tag} is {text!r}, which can't stand in a manifest")
    if tag == "service_name" and len(text) > MAX_SERVICE_NAME:
        raise MismatchError(f"service_name has more than {MAX_SERVICE_NAME} characters")
    return text


def read_configs(text: bytes) -> dict[str, str]:
    """Read a configs.xml: normal values by tag, in the order of PROPERTIES."""
    try:
        root = ET.fromstring(text)  # noqa: S314 - the developer's own file
    except ET.ParseError as error:
        raise MismatchError(f"not XML: {error}") from None
    if root.tag != ROOT:
        raise MismatchError(f"its outermost element is {root.tag}, not {ROOT}")
    found: dict[str, str] = {}
    for part in root:
        known = PROPERTIES.get(part.tag)
        if known is None:
            raise MismatchError(f"{part.tag} can't be carried over into a manifest")
        for element in part:
            if element.tag not in known:
                raise MismatchError(f"{element.tag} can't be carried over into a manifest")
            if element.tag in found:
                raise MismatchError(f"{element.tag} stands there twice")
            found[element.tag] = normal(element.tag, element.text or "")
    order = [tag for tags in PROPERTIES.values() for tag in tags]
    return {tag: found[tag] for tag in order if tag in found}


def check(configs: dict[str, str], expected: dict[str, str]) -> None:
    """Compare what the certificate was issued for with what is being built."""
    for tag, value in expected.items():
        if tag not in configs:
            raise MismatchError(f"it doesn't say {tag}, and this TA is built with {value}")
        if configs[tag] != value:
            raise MismatchError(
                f"{tag} is {configs[tag]} there, but this TA is built with {value}: "
                "the server would refuse it"
            )


def manifest(configs: dict[str, str]) -> str:
    """Write the manifest.txt that says the same."""
    names = {tag: name for tags in PROPERTIES.values() for tag, name in tags.items()}
    return "".join(f"{names[tag]}: {value}\n" for tag, value in configs.items())


def request(expected: dict[str, str], service_name: str) -> str:
    """Write the configs.xml to apply for a certificate with."""
    values = {"service_name": service_name, **expected}
    root = ET.Element(ROOT)
    for part, tags in PROPERTIES.items():
        parent = ET.SubElement(root, part)
        for tag in tags:
            if tag in values:
                ET.SubElement(parent, tag).text = values[tag]
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--uuid", required=True)
    shared.add_argument("--service-name", default="tee-memory")
    shared.add_argument("--heap", required=True, dest="heap_size")
    shared.add_argument("--stack", required=True, dest="stack_size")
    shared.add_argument("--single-instance", default="true", dest="single_instance")
    shared.add_argument("--multi-session", default="true", dest="multi_session")
    shared.add_argument("--keep-alive", default="true", dest="instance_keep_alive")
    making = commands.add_parser(
        "manifest", parents=[shared], help="check, then write manifest.txt"
    )
    making.add_argument("configs", type=Path)
    making.add_argument("--output", type=Path, required=True)
    commands.add_parser("request", parents=[shared], help="print a configs.xml to apply with")
    return parser


def _expected(arguments: argparse.Namespace) -> dict[str, str]:
    tags = (
        *("uuid", "heap_size", "stack_size"),
        *("single_instance", "multi_session", "instance_keep_alive"),
    )
    return {tag: normal(tag, getattr(arguments, tag)) for tag in tags}


def _make_manifest(arguments: argparse.Namespace, expected: dict[str, str]) -> None:
    try:
        configs = read_configs(arguments.configs.read_bytes())
        check(configs, expected)
    except (MismatchError, OSError) as error:
        # What an earlier run left must not be signed instead.
        arguments.output.unlink(missing_ok=True)
        raise MismatchError(f"{arguments.configs}: {error}") from None
    arguments.output.write_text(manifest(configs))


def main(arguments: list[str] | None = None) -> None:
    """Run one of the two commands; a mismatch is one line and exit status 1."""
    parsed = _arguments().parse_args(arguments)
    try:
        expected = _expected(parsed)
        if parsed.command == "request":
            sys.stdout.write(request(expected, normal("service_name", parsed.service_name)))
        else:
            _make_manifest(parsed, expected)
    except MismatchError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
