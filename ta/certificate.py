"""Reads `config`, the signed configuration that the vendor issues, and compares it with a build.

The form is that of the SDK's own packer (pack-Config): a header of 44 bytes; the developer's
certificate, with 4 bytes for its kind before it; the values as text of tag, kind, length and value;
the vendor's signature, which only the TEE can check.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from manifest import SIZES, SWITCHES, FaultError, normal

MAGIC, VERSION = 0xABCDABCD, 2
# Magic, version, policy, and the lengths of all that follows, certificate, values and signature.
HEADER = Struct("<IHHIIII20x")
_KIND = Struct("<I")
_A_CERTIFICATE = 1

_GROUP = "0"
_SWITCH = "1"
_INFO, _BASIC, _MANIFEST = "000", "001", "006"
# Each value stands in a group of its own, whose number is the one before the value's.
_TAGS = {
    _BASIC: {"002": "service_name", "004": "uuid"},
    _MANIFEST: {
        "007": "instance_keep_alive",
        "009": "stack_size",
        "011": "heap_size",
        "013": "target_type",
        "015": "multi_command",
        "017": "multi_session",
        "019": "single_instance",
        "039": "mem_page_align",
    },
}
_LEAST = ("uuid", "service_name", *SIZES)


class Certificate(NamedTuple):
    """What a signed configuration holds: normal values by tag, and the certificate as DER."""

    values: dict[str, str]
    der: bytes


class UnknownFormError(Exception):
    """The file isn't in the known form; the message says in what it differs."""


def read_config(data: bytes) -> Certificate:
    """Read a signed configuration.

    Raises:
        UnknownFormError: it is none, or in another form than the known one.
        FaultError: a value breaks its rule.
    """
    if len(data) < HEADER.size:
        raise UnknownFormError("it is too short")
    magic, version, _, _, certificate_bytes, values_bytes, _ = HEADER.unpack_from(data)
    if (magic, version) != (MAGIC, VERSION):
        raise UnknownFormError(f"it begins with {magic:#x} and version {version}")
    text_at = HEADER.size + certificate_bytes
    if certificate_bytes <= _KIND.size or len(data) < text_at + values_bytes:
        raise UnknownFormError("it ends before what its header announces")
    if _KIND.unpack_from(data, HEADER.size) != (_A_CERTIFICATE,):
        raise UnknownFormError("it holds no certificate")
    try:
        values = dict(_values(data[text_at : text_at + values_bytes].decode()))
    except (ValueError, KeyError):
        raise UnknownFormError("its values can't be read") from None
    if missing := [tag for tag in _LEAST if tag not in values]:
        raise UnknownFormError(f"it says no {missing[0]}")
    return Certificate(values, data[HEADER.size + _KIND.size : text_at])


def _values(text: str) -> Iterator[tuple[str, str]]:
    """Yield tags and values; groups that aren't known are left out."""
    # A driver's permissions follow the first item in a form of their own.
    _, _, information = next(_items(text))
    for section, _, content in _items(information):
        for number, _, group in _items(content):
            if tag := _TAGS.get(section, {}).get(number):
                for _, kind, value in _items(group):
                    word = {"0": "false", "1": "true"}[value] if kind == _SWITCH else value
                    yield tag, normal(tag, word)


def _items(text: str) -> Iterator[tuple[str, str, str]]:
    """Split text into items of three digits of tag, one of kind, four of length, and a value."""
    while text:
        size = int(text[4:8], 16)
        if len(text) < 8 + size:
            raise ValueError("cut short")
        yield text[:3], text[3], text[8 : 8 + size]
        text = text[8 + size :]


def mismatches(signed: dict[str, str], stated: dict[str, str]) -> Iterator[str]:
    """Say in which values a build differs from the certificate so that the TEE refuses it.

    A TEE of the open sibling OS takes a smaller heap or stack, and a certificate that doesn't say
    a switch as false.
    """
    for tag, value in stated.items():
        if tag in SIZES:
            if int(value) > int(signed[tag]):
                yield f"{tag} is {value}, more than the {signed[tag]} of the certificate"
        elif tag in {"uuid", "service_name", "target_type", *SWITCHES} - {"is_lib"}:
            default = {"target_type": "0"}.get(tag, "false")
            if value != (issued := signed.get(tag, default)):
                yield f"{tag} is {value}, but {issued} in the certificate"


def key_fault(key: bytes, der: bytes) -> str | None:
    """Say what is wrong if the private key isn't the certificate's, by openssl."""
    public = _openssl("pkey", "-pubout", given=key)
    if public is None:
        return "is no private key that openssl can read"
    issued_for = _openssl("x509", "-inform", "DER", "-noout", "-pubkey", given=der)
    if issued_for is None:
        raise FaultError("the certificate in it can't be read by openssl")
    return None if public == issued_for else "isn't the private key of the certificate"


def _openssl(*words: str, given: bytes) -> bytes | None:
    command = ["openssl", *words]
    result = subprocess.run(command, input=given, capture_output=True, check=False)
    return result.stdout if result.returncode == 0 else None
