"""Reads versions and memory use from iTrustee's driver, beside the query.

Nothing here is needed for a reading: what the driver doesn't report is left out. The helper loads
this file at every query: it imports os and ctypes, and nothing else.
"""

import os
from ctypes import CDLL, Structure, byref, c_char, c_int, c_uint16, c_uint32, c_ulong, c_void_p

TYPE_CHECKING = False  # typing's own costs the helper 10 ms
if TYPE_CHECKING:
    from collections.abc import Callable

MEMSTAT = "/sys/kernel/debug/tzdebug/memstat"
"""There only where the driver was built with CONFIG_MEMSTAT_DEBUGFS."""

_VERSION_BYTES = 256
"""What the request's number says; the driver fills in 156 of them."""

_MEMSTAT_BYTES = 16 * 1024
"""A hundred trusted applications, the most that there are, take less."""

_READ = 2 << 30


def _request(number: int, size: int) -> int:
    """Encode a request of /dev/teelog that reads, as the kernel's _IOR does."""
    return _READ | size << 16 | 0xBE << 8 | number


class _DriverVersion(Structure):
    """What request 9 gives."""

    _fields_ = (("major", c_uint16), ("minor", c_uint16), ("reserved", c_uint32 * 15))


def tell_more(tell: "Callable[[str, str], None]", node: str, memstat: str) -> None:
    """Tell `tee-os` and `driver`, their versions, and `memstat`, the driver's own text.

    An empty path isn't looked at.
    """
    if os.path.exists(node):  # noqa: PTH110 - no pathlib in the helper
        tell("step", f"ioctl of {node}")
        try:
            file = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            tell("no-versions", f"{node} can't be opened ({error.strerror})")
        else:
            _tell_versions(tell, file, node)
            os.close(file)
    if os.path.exists(memstat):  # noqa: PTH110 - likewise
        tell("step", f"reading of {memstat}")
        try:
            with open(memstat, "rb") as stream:  # noqa: PTH123 - likewise
                tell("memstat", stream.read(_MEMSTAT_BYTES).decode("utf-8", "replace"))
        except OSError as error:
            tell("no-memstat", f"{memstat} can't be read ({error.strerror})")


def _tell_versions(tell: "Callable[[str, str], None]", file: int, node: str) -> None:
    ioctl = CDLL(None).ioctl
    ioctl.restype, ioctl.argtypes = c_int, (c_int, c_ulong, c_void_p)
    text, driver = (c_char * _VERSION_BYTES)(), _DriverVersion()
    if ioctl(file, _request(5, _VERSION_BYTES), byref(text)) == 0 and text.value:
        tell("tee-os", text.value.decode("utf-8", "replace"))
    else:
        tell("no-versions", f"{node} gives no version")
    # 64 bytes, as the driver's own structure.
    if ioctl(file, _request(9, 64), byref(driver)) == 0:
        tell("driver", f"{driver.major}.{driver.minor}")
