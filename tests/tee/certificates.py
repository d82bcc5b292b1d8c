"""A developer's key, and the signed configuration `config` as the SDK's packer lays it out."""

from __future__ import annotations

import struct
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

from tests.tee.configs import configs_xml

_GROUPS = {"TA_Basic_Info": "001", "TA_Manifest_Info": "006", "TA_Control_Info": "021"}
_TAGS = {
    "service_name": (2, "3"),
    "uuid": (4, "3"),
    "instance_keep_alive": (7, "1"),
    "stack_size": (9, "2"),
    "heap_size": (11, "2"),
    "target_type": (13, "2"),
    "multi_command": (15, "1"),
    "multi_session": (17, "1"),
    "single_instance": (19, "1"),
    "mem_page_align": (39, "1"),
    "sys_verify_ta": (41, "1"),
}


def new_key(path: Path) -> bytes:
    """Make a private key at a path, and give a certificate for it as DER."""
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-subj", "/CN=a developer", "-keyout", str(path), "-outform", "DER"),
    ]
    return subprocess.run(command, capture_output=True, timeout=30, check=True).stdout


def config_of(der: bytes, configs: str | None = None) -> bytes:
    """Write the signed configuration for a certificate and a configs.xml."""
    values = _values(configs or configs_xml()).encode()
    certificate = struct.pack("<I", 1) + der
    signature = struct.pack("<III", 0, 1, 0) + bytes(512)
    whole = len(certificate) + len(values) + len(signature)
    lengths = (len(certificate), len(values), len(signature))
    header = struct.pack("<IHHIIII5I", 0xABCDABCD, 2, 3, whole, *lengths, *[0] * 5)
    return header + certificate + values + signature


def _values(configs: str) -> str:
    sections = []
    for section in ET.fromstring(configs):  # noqa: S314 - a test's own
        items = []
        for element in section:
            if element.tag in _TAGS:
                number, kind = _TAGS[element.tag]
                text = element.text or ""
                text = str(int(text == "true")) if kind == "1" else text
                items.append(_item(f"{number:03}", "0", _item(f"{number + 1:03}", kind, text)))
        sections.append(_item(_GROUPS[section.tag], "0", "".join(items)))
    return _item("000", "0", "".join(sections))


def _item(tag: str, kind: str, value: str) -> str:
    return f"{tag}{kind}{len(value):04x}{value}"
