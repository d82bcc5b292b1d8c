"""The operator's options for the libteec backend, each checked; used by backend."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from teeplugin_backends.base import OptionError
from teeplugin_backends.libteec.client import ITRUSTEE, OPTEE

AUTO = "auto"
FLAVOURS = (AUTO, ITRUSTEE, OPTEE)

DEFAULT_UUID = "e3d37f4a-f24c-48d0-8884-3bdd6c44e988"
"""The sample's; whoever signs a trusted application of their own has their own UUID."""

DEFAULT_IDENTITY = "/vendor/bin/tee-device-plugin"
DEFAULT_USER = "root"
DEFAULT_DEVICE = "/dev/tee0"

TEECD = "/var/itrustee/teecd"
"""The directory and not the socket in it, which teecd binds anew when it restarts."""

LOG_NODE, CONFIDENTIAL_NODE = "/dev/teelog", "/dev/tc_ns_cvm"
"""What iTrustee's containers are given; the second is there on a confidential OS only."""

_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        AUTO: ("libteec.so", "libteec.so.2", "libteec.so.1"),
        ITRUSTEE: ("libteec.so",),
        OPTEE: ("libteec.so.2", "libteec.so.1", "libteec.so"),
    }
)
"""What the loader is asked for where no library is named: the vendors' own names, newest first."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_TA_SUFFIX = ".sec"
_LONGEST_TA_PATH = 255
_LONGEST_PATH = 4095


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose; see LibTeec for the meaning of each."""

    flavour: str = AUTO
    library: str | None = None
    uuid: str = DEFAULT_UUID
    ta_path: str | None = None
    identity: str = DEFAULT_IDENTITY
    user: str = DEFAULT_USER
    device: str = DEFAULT_DEVICE

    @property
    def ta_file(self) -> str:
        """Where the trusted application's file is."""
        return self.ta_path or f"/data/{self.uuid}{_TA_SUFFIX}"

    def libraries(self, flavour: str) -> tuple[str, ...]:
        """What to load: the library that was named, or the flavour's names one after the other."""
        return (self.library,) if self.library else _LIBRARIES[flavour]


def parse_options(pairs: Mapping[str, str]) -> Options:
    """Check the operator's options.

    Raises:
        OptionError: one is unknown or breaks its rule; names the pair, the rule and the cure.
    """
    values = {}
    for key, text in pairs.items():
        if key not in _PARSERS:
            raise OptionError(f"{key}={text}: no such option: there are {', '.join(_PARSERS)}")
        try:
            values[key.replace("-", "_")] = _PARSERS[key](text)
        except OptionError as error:
            raise OptionError(f"{key}={text}: {error}") from None
    return Options(**values)


def _flavour(text: str) -> str:
    if text not in FLAVOURS:
        raise OptionError(f"must be one of {', '.join(FLAVOURS)}: give {AUTO}, which finds out")
    return text


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise OptionError(f"must be a UUID: give the one in the manifest, e.g. {DEFAULT_UUID}")
    return text.lower()


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise OptionError(f"must be a user's name as in /etc/passwd: give e.g. {DEFAULT_USER}")
    return text


def _path(example: str, longest: int = _LONGEST_PATH) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text.startswith("/") or text.endswith("/") or not text.isprintable():
            raise OptionError(f"must be an absolute path to a file: give e.g. {example}")
        if len(text.encode()) > longest:
            raise OptionError(
                f"must have {longest} bytes or fewer: move the file to a shorter path"
            )
        return text

    return parse


def _ta_path(text: str) -> str:
    if not text.endswith(_TA_SUFFIX):
        raise OptionError(f"must end in {_TA_SUFFIX}: give the signed file, /data/<uuid>.sec")
    return _path("/data/<uuid>.sec", _LONGEST_TA_PATH)(text)


def _device(text: str) -> str:
    if not text.startswith("/dev/"):
        raise OptionError(f"must be a device node below /dev: give e.g. {DEFAULT_DEVICE}")
    return _path(DEFAULT_DEVICE)(text)


_PARSERS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "flavour": _flavour,
        "library": _path("/usr/lib64/libteec.so"),
        "uuid": _uuid,
        "ta-path": _ta_path,
        # iTrustee's daemon can't take a longer one.
        "identity": _path(DEFAULT_IDENTITY, 255),
        "user": _user,
        "device": _device,
    }
)
