"""What libteec's results mean: from code, call and vendor to a TeeError with words and a fix.

This is the one place that knows which result is which kind of fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from teeplugin_backends.base import (
    BadReply,
    Busy,
    Exhausted,
    Refused,
    TeeError,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.libteec import abi
from teeplugin_backends.libteec.client import ITRUSTEE, OPTEE


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a result means: `name` is the vendors', `fix` None is that of the kind in `FIXES`."""

    name: str
    kind: type[TeeError]
    words: str
    fix: str | None = None


FIXES: Final[Mapping[type[TeeError], str]] = MappingProxyType(
    {
        Unreachable: "check that the TEE OS and its daemon run on this node",
        Refused: "check the plugin's identity, its user and the trusted application's allowlist",
        TimedOut: "look for calls stuck in the TEE, and for its supplicant or daemon",
        BadReply: "check that the trusted application and the client library match this plugin",
        Exhausted: "free secure memory: end trusted applications that are not needed",
    }
)
"""What to do about a fault of a kind, where nothing more is known of it."""

_FITS = "check that library, trusted application and plugin match each other"
_INSTALL_TA = "put the signed <uuid>.sec of this UUID at the path of --backend-option ta-path="
_SIGN_AGAIN = "sign the trusted application for this UUID, with a certificate that this TEE knows"
_WHITE_LIST = (
    "add the output of `tee-device-plugin identity` to the trusted application's allowlist, "
    "or give --backend-option identity= and user= from its allowlist"
)

MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        abi.ERROR_GENERIC: Meaning("GENERIC", BadReply, "it failed without a reason"),
        abi.ERROR_ACCESS_DENIED: Meaning(
            "ACCESS_DENIED", Refused, "the plugin lacks the permission", _WHITE_LIST
        ),
        abi.ERROR_CANCEL: Meaning("CANCEL", BadReply, "it was cancelled, but not by the plugin"),
        abi.ERROR_ACCESS_CONFLICT: Meaning(
            "ACCESS_CONFLICT", Busy, "another client has exclusive access"
        ),
        abi.ERROR_EXCESS_DATA: Meaning(
            "EXCESS_DATA", BadReply, "the request has too much data", _FITS
        ),
        abi.ERROR_BAD_FORMAT: Meaning("BAD_FORMAT", BadReply, "the request is malformed", _FITS),
        abi.ERROR_BAD_PARAMETERS: Meaning(
            "BAD_PARAMETERS",
            BadReply,
            "the parameters are invalid, or the session is gone",
            _FITS,
        ),
        abi.ERROR_BAD_STATE: Meaning("BAD_STATE", BadReply, "not possible in this state"),
        abi.ERROR_ITEM_NOT_FOUND: Meaning(
            "ITEM_NOT_FOUND", Refused, "there is no such trusted application", _INSTALL_TA
        ),
        abi.ERROR_NOT_IMPLEMENTED: Meaning(
            "NOT_IMPLEMENTED", BadReply, "there is no such function", _FITS
        ),
        abi.ERROR_NOT_SUPPORTED: Meaning(
            "NOT_SUPPORTED",
            BadReply,
            "the trusted application of this UUID doesn't know the command",
            _FITS,
        ),
        abi.ERROR_NO_DATA: Meaning("NO_DATA", BadReply, "there is no data"),
        abi.ERROR_OUT_OF_MEMORY: Meaning(
            "OUT_OF_MEMORY", Exhausted, "the TEE has no memory for the query"
        ),
        abi.ERROR_BUSY: Meaning(
            "BUSY",
            Busy,
            "another client has the only session",
            "build the trusted application with multi_session true",
        ),
        abi.ERROR_COMMUNICATION: Meaning(
            "COMMUNICATION", Unreachable, "the connection to the TEE is broken"
        ),
        abi.ERROR_SECURITY: Meaning(
            "SECURITY",
            Refused,
            "the trusted application's file was changed, cut, renamed, or signed for another TEE",
            _SIGN_AGAIN,
        ),
        abi.ERROR_SHORT_BUFFER: Meaning(
            "SHORT_BUFFER", BadReply, "the answer is longer than the plugin's buffer", _FITS
        ),
        abi.ERROR_TARGET_DEAD: Meaning(
            "TARGET_DEAD",
            BadReply,
            "the trusted application panicked",
            "look for its panic in the TEE's log (tlogcat, or OP-TEE's console)",
        ),
        abi.ERROR_SERVICE_NOT_EXIST: Meaning(
            "SERVICE_NOT_EXIST", Refused, "there is no such trusted application", _INSTALL_TA
        ),
        abi.ERROR_SESSION_MAXIMUM: Meaning(
            "SESSION_MAXIMUM", Busy, "the trusted application has no free session"
        ),
        abi.ERROR_TRUSTED_APP_LOAD_ERROR: Meaning(
            "TRUSTED_APP_LOAD_ERROR",
            Refused,
            "the trusted application's file is missing or can't be loaded",
            _INSTALL_TA,
        ),
        abi.ERROR_SIGNATURE_INVALID: Meaning(
            "SIGNATURE_INVALID",
            Refused,
            "the trusted application's signature isn't valid here",
            _SIGN_AGAIN,
        ),
        abi.ERROR_GTASK_DEAD: Meaning(
            "GTASK_DEAD",
            Unreachable,
            "the TEE OS's own manager has died",
            "restart the node: the TEE OS can't recover from this",
        ),
        abi.FAIL: Meaning("FAIL", BadReply, "it failed without a reason"),
        abi.ERROR_IPC_OVERFLOW: Meaning(
            "IPC_OVERFLOW", Busy, "the TEE has more calls than it can queue"
        ),
        abi.ERROR_CA_AUTH_FILE: Meaning(
            "CA_AUTH_FILE",
            Refused,
            "the TEE's file of admitted clients is missing",
            "install the vendor's client authentication file on the node",
        ),
        abi.ERROR_CA_CALLER_ACCESS_DENIED: Meaning(
            "CA_CALLER_ACCESS_DENIED",
            Refused,
            "the trusted application doesn't admit this path and user",
            _WHITE_LIST,
        ),
        abi.ERROR_CA_AUTH_FAIL: Meaning(
            "CA_AUTH_FAIL", Refused, "the TEE doesn't admit this path and user", _WHITE_LIST
        ),
        abi.ERROR_TEE_REBOOTING: Meaning(
            "TEE_REBOOTING",
            Unreachable,
            "the TEE OS is restarting",
            "usually none: the plugin retries until the TEE answers",
        ),
    }
)
"""By result, wherever the next table has nothing more exact."""

OF_THE_CALLER: Final = frozenset(
    {
        abi.ERROR_ACCESS_DENIED,
        abi.ERROR_CA_AUTH_FILE,
        abi.ERROR_CA_CALLER_ACCESS_DENIED,
        abi.ERROR_CA_AUTH_FAIL,
    }
)
"""Results by which the TEE refuses who asks."""

OF_THE_APPLICATION: Final = frozenset(
    {
        abi.ERROR_ITEM_NOT_FOUND,
        abi.ERROR_NOT_SUPPORTED,
        abi.ERROR_SECURITY,
        abi.ERROR_TARGET_DEAD,
        abi.ERROR_SERVICE_NOT_EXIST,
        abi.ERROR_TRUSTED_APP_LOAD_ERROR,
        abi.ERROR_SIGNATURE_INVALID,
    }
)
"""Results by which a session or a command fails for the trusted application."""

_IN_CALL: Final[Mapping[tuple[str, str, int], Meaning]] = MappingProxyType(
    {
        (ITRUSTEE, "TEEC_InitializeContext", abi.ERROR_GENERIC): Meaning(
            "GENERIC", Unreachable, "the connection to teecd or the login failed"
        ),
        (ITRUSTEE, "TEEC_OpenSession", abi.ERROR_GENERIC): Meaning(
            "GENERIC",
            BadReply,
            "the driver failed to open a session, for an unknown reason",
            "find the driver's reason in the kernel's log (dmesg)",
        ),
        (OPTEE, "TEEC_InitializeContext", abi.ERROR_ITEM_NOT_FOUND): Meaning(
            "ITEM_NOT_FOUND",
            Unreachable,
            "the device of OP-TEE's driver is missing, or the plugin may not open it",
            "load the driver optee, and give the plugin's container /dev/tee0",
        ),
        (OPTEE, "TEEC_OpenSession", abi.ERROR_ITEM_NOT_FOUND): Meaning(
            "ITEM_NOT_FOUND",
            Refused,
            "this OP-TEE has no statistics pseudo-TA",
            "build OP-TEE with CFG_WITH_STATS=y",
        ),
    }
)

_EFAULT = Meaning(
    "ACCESS_DENIED",
    BadReply,
    "the driver could not copy the query or its answer (EFAULT): no allowlist refused it",
    "check that another trusted application doesn't have this UUID, and that libteec, driver and "
    "plugin match each other",
)
"""iTrustee's library makes ACCESS_DENIED of the driver's EFAULT, with the driver as its origin."""

_ORIGINS: Final[Mapping[int, str]] = MappingProxyType(
    {
        abi.ORIGIN_API: "the library",
        abi.ORIGIN_COMMS: "the driver",
        abi.ORIGIN_TEE: "the TEE",
        abi.ORIGIN_TRUSTED_APP: "the trusted application",
    }
)

_UNKNOWN = Meaning("unknown", BadReply, "an unknown result")


def result_of(told: Mapping[str, str]) -> int | None:
    """Give the result of the call that failed, if one did, by what a helper told."""
    return int(told["result"]) if "failed" in told else None


def is_refusal(told: Mapping[str, str]) -> bool:
    """Whether the TEE or the trusted application refused who asks, by what a helper told.

    Not so where the library or the driver is the origin: they know no allowlist.
    """
    by_who_knows = told.get("origin") not in (str(abi.ORIGIN_API), str(abi.ORIGIN_COMMS))
    return by_who_knows and result_of(told) in OF_THE_CALLER


def error_of(vendor: str, step: str, result: int, origin: int, *, said: str = "") -> TeeError:
    """Make the error for the result of a call, `step` being the call's name.

    `said` is the last line that the library wrote about it.
    """
    meaning = _IN_CALL.get((vendor, step, result)) or MEANINGS.get(result, _UNKNOWN)
    if (vendor, result, origin) == (ITRUSTEE, abi.ERROR_ACCESS_DENIED, abi.ORIGIN_COMMS):
        meaning = _EFAULT
    kind = meaning.kind
    if kind is Exhausted and origin in (abi.ORIGIN_API, abi.ORIGIN_COMMS):
        # The node's memory, not the TEE's: nothing follows from it for what is listed.
        kind = BadReply
    teller = _ORIGINS.get(origin)
    called = f"{step}: {result:#010X} {meaning.name}".replace("X", "x", 1)
    message = f"{called}{f' from {teller}' if teller else ''}: {meaning.words}"
    fix = meaning.fix or FIXES.get(kind)
    return kind(f"{message} (libteec: {said})" if said else message, fix=fix)
