"""The rules of single settings, text to value: pure but for one look at a path; config's own.

What turns text into a value leaves alone what it can't read: the model then refuses its type, and
config_sources says so in our words. Only rules with more to say raise a sentence of their own.
"""

import os
import re
import socket
from pathlib import Path
from typing import Final

from pydantic import ValidationInfo

from teeplugin.policy import units

MAX_BYTES: Final = 1024**5
"""1 PiB, far beyond any TEE: a larger size is a slip, and would overflow others' 64 bits."""

LEAST_INTERVAL_SECONDS: Final = 0.01
"""A query takes milliseconds: asking more often would be asking without a pause."""

DEFAULT_KUBELET_DIR: Final = Path("/var/lib/kubelet")
DEFAULT_HOST_ROOT: Final = Path("/")

DEFAULT_LISTEN: Final = "127.0.0.1:9840"
"""Loopback, as metrics name pods; 9840 is registered to nobody and no usual exporter's."""

EVERYWHERE: Final = (None, "::")
"""Hosts of an address that stand for all addresses of both families, as in Go."""

_MAX_PORT = 65535
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

# Decimal only: a leading 0 is octal to the Go plugin's flags, so neither reading would be safe.
_WHOLE_NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_DIGITS = 40

_MORE_DIGITS = re.compile(rf"\A([1-9][0-9]{{{_MAX_DIGITS - 1}}})[0-9]+")
_PIB_OR_EIB = re.compile(r"([0-9.]+\s*)([pe])(ib?|b)?", re.IGNORECASE)
_LONGEST_SIZE = 2 * _MAX_DIGITS

_MAY_BE_MISSING = {"kubelet_dir": DEFAULT_KUBELET_DIR, "host_root": DEFAULT_HOST_ROOT}

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
# The kubelet checks the name with `requests.` before it, as it appears in a quota: 253 - 9.
_DOMAIN_LENGTH = 244
_NAME_LENGTH = 63
_NODE_LENGTH = 253


def whole_number(value: object) -> object:
    """Read digits; what is no whole number stays as it is, for the model to refuse."""
    if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
        return int(value[:_MAX_DIGITS])  # Python refuses 4,301 digits; the limits refuse 40
    return value


def number(value: object) -> object:
    """Read a decimal number, with or without an exponent."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value)
    return value


def not_over_and_over(seconds: float) -> float:
    """Refuse an interval that would ask the TEE without a pause."""
    if 0 < seconds < LEAST_INTERVAL_SECONDS:
        raise ValueError(f"must be 0, or at least {LEAST_INTERVAL_SECONDS} s")
    return seconds


def size(value: object) -> object:
    """Read bytes from a size like 600MiB; refuse one that is beyond any TEE."""
    if not isinstance(value, str):
        return value
    # As above, Python refuses 4,301 digits and the limit 40.
    text, factor = _MORE_DIGITS.sub(r"\1", value.strip()), 1
    if large := _PIB_OR_EIB.fullmatch(text):
        digits, letter, rest = large.groups(default="")
        text, factor = f"{digits}T{rest}", units.KIB ** ("pe".index(letter.lower()) + 1)
    if len(text) > _LONGEST_SIZE:
        return value
    try:
        size_bytes = units.parse_size(text) * factor
    except ValueError:
        return value
    if size_bytes > MAX_BYTES:
        raise ValueError("must be 1 PiB or less")
    return size_bytes


def not_empty(value: str) -> str:
    """Refuse the empty text."""
    if not value:
        raise ValueError("is empty")
    return value


def existing_directory(value: object, info: ValidationInfo) -> object:
    """Take an existing directory, or the setting's default unless the context names the setting.

    A printed default need not exist: the configuration of a node can be looked at on a laptop.
    """
    path = Path(value) if isinstance(value, str) and value else value
    if not isinstance(path, Path):
        return value
    by_hand = info.field_name in (info.context or ())
    may_be_missing = not by_hand and path == _MAY_BE_MISSING.get(info.field_name or "")
    if not may_be_missing and not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for what os.path answers with False
        raise ValueError("not an existing directory")
    return path


def any_path(value: object) -> object:
    """Take a path, also of what isn't there yet: the kubelet makes it, and may start after us."""
    return Path(value) if isinstance(value, str) and value and "\0" not in value else value


def listen_address(value: str) -> str:
    """Take HOST:PORT, [IPv6]:PORT or :PORT; the empty text stands for none, as does "off"."""
    if value in ("", "off"):
        return ""
    split_address(value)
    return value


def split_address(value: str) -> tuple[str | None, int]:
    """Split HOST:PORT; without a host it is None: all addresses.

    Raises:
        ValueError: there is no port, or host or port can't be one.
    """
    host, colon, port = value.rpartition(":")
    if not colon:
        raise ValueError("has no port")
    if not (port.isascii() and port.isdigit() and len(port) <= len(str(_MAX_PORT))):
        raise ValueError("the port is no number")
    if int(port) > _MAX_PORT:
        raise ValueError(f"the port must be {_MAX_PORT} or less")
    if host.startswith("[") and host.endswith("]"):
        try:
            socket.inet_pton(socket.AF_INET6, host[1:-1])
        except OSError:
            raise ValueError("between the brackets is no IPv6 address") from None
        return host[1:-1], int(port)
    if host and not _HOST_NAME.fullmatch(host):
        raise ValueError("the host is no name or address; an IPv6 address goes into brackets")
    return host or None, int(port)


def extended_resource(value: str) -> str:
    """Refuse what the kubelet and the API server would refuse as an extended resource's name."""
    domain, slash, name = value.partition("/")
    if not slash or "/" in name or not domain or not name:
        raise ValueError("must have one / between a domain and a name")
    if domain.endswith("kubernetes.io"):
        raise ValueError("kubernetes.io is reserved for Kubernetes' own resources")
    if domain.startswith("requests."):
        raise ValueError("must not begin with requests., which quotas put before it")
    if len(domain) > _DOMAIN_LENGTH or not _SUBDOMAIN.fullmatch(domain):
        raise ValueError(
            f"the domain must be at most {_DOMAIN_LENGTH} lower-case letters, digits, - and .,"
            " each part beginning and ending with a letter or digit"
        )
    if len(name) > _NAME_LENGTH or not _QUALIFIED_NAME.fullmatch(name):
        raise ValueError(
            f"the name must be at most {_NAME_LENGTH} letters, digits, -, _ and .,"
            " beginning and ending with a letter or digit"
        )
    return value


def node_subdomain(value: str | None) -> str | None:
    """Refuse what can't be a node object's name; None is none given."""
    if value is not None and (len(value) > _NODE_LENGTH or not _SUBDOMAIN.fullmatch(value)):
        raise ValueError(
            f"must be at most {_NODE_LENGTH} lower-case letters, digits, - and ., each part "
            "beginning and ending with a letter or digit"
        )
    return value
