"""The options of the backend `libteec`, their rules and defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from teeplugin_backends.base import OptionError
from teeplugin_backends.libteec.client import ITRUSTEE, OPTEE
from teeplugin_backends.options import boolean, choice, option, path, text

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

CLIENT_NODE, AGENTS_NODE = "/dev/tc_ns_client", "/dev/tc_private"
"""The driver's own: teecd opens the first for each client, and holds the second while it runs."""

ITRUSTEE_NODES = (LOG_NODE, CONFIDENTIAL_NODE, CLIENT_NODE)

_LIBRARIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        AUTO: ("libteec.so", "libteec.so.2", "libteec.so.1"),
        ITRUSTEE: ("libteec.so",),
        OPTEE: ("libteec.so.2", "libteec.so.1", "libteec.so"),
    }
)
"""What the loader is asked for where no library is named: the vendors' own names, newest first."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_USER = r"[A-Za-z_][A-Za-z0-9_.-]{0,31}"
_TA_SUFFIX = ".sec"


def _uuid(given: str) -> str:
    if not _UUID.fullmatch(given):
        raise OptionError(f"must be a UUID: give the one in the manifest, e.g. {DEFAULT_UUID}")
    return given.lower()


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chose; see LibTeec for the meaning of each."""

    flavour: str = choice(AUTO, FLAVOURS, example=f"{AUTO}, which finds out")
    library: str | None = path(None, example="e.g. /usr/lib64/libteec.so")
    uuid: str = option(DEFAULT_UUID, _uuid)
    # iTrustee's library takes less than 256 bytes for either.
    ta_path: str | None = path(
        None, suffix=_TA_SUFFIX, longest=255, example="the signed file, /data/<uuid>.sec"
    )
    identity: str = path(DEFAULT_IDENTITY, longest=255)
    user: str = text(DEFAULT_USER, pattern=_USER, rule="a user's name as in /etc/passwd")
    device: str = path(DEFAULT_DEVICE, under="/dev/")
    confidential_node: bool = boolean(default=True)

    @property
    def ta_file(self) -> str:
        """The path of the trusted application's file."""
        return self.ta_path or f"/data/{self.uuid}{_TA_SUFFIX}"

    def libraries(self, flavour: str) -> tuple[str, ...]:
        """Return what to load: the library that was named, or the flavour's names in turn."""
        return (self.library,) if self.library else _LIBRARIES[flavour]
