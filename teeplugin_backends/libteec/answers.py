"""From how a helper ended to a reading or a TeeError."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Final

from teeplugin_backends.base import (
    BadReply,
    Exhausted,
    Refused,
    TeeError,
    TeeMemory,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.libteec.client import OPEN, OPTEE, VENDORS
from teeplugin_backends.libteec.process import WRONG_INTERPRETER, Ended
from teeplugin_backends.libteec.results import FIXES, error_of

_NAME_LIBRARY = "name the right one: --backend-option library=/usr/lib64/libteec.so"
_UNMOVED = (
    "run the plugin with a Python at the path that it was built for, such as the distribution's: "
    "a moved Python doesn't find its library"
)
_RUN_AS = (
    "run the plugin as the user that the trusted application admits, or give "
    "--backend-option user= with that user"
)

PROBLEMS: Final[Mapping[str, tuple[type[TeeError], str]]] = MappingProxyType(
    {
        "library": (
            Unreachable,
            "mount the node's libteec and the libraries it needs into the plugin's container, or "
            + _NAME_LIBRARY,
        ),
        "symbol": (Unreachable, f"install the libteec of this node's TEE, or {_NAME_LIBRARY}"),
        "vendor": (
            Unreachable,
            f"give --backend-option flavour= of this node's TEE, or {_NAME_LIBRARY}",
        ),
        "preload": (Unreachable, "start the plugin without LD_PRELOAD"),
        "identity": (
            Refused,
            "run the plugin without a wrapper or emulator around its interpreter",
        ),
        "nobody": (
            Refused,
            "put an /etc/passwd with the plugin's user into its container",
        ),
        "user": (Refused, _RUN_AS),
        "rejected": (
            BadReply,
            "check that library, trusted application and plugin match each other",
        ),
    }
)
"""What a helper says where no call failed: the kind of fault and its fix, by its problem."""

_LAST = {"words", "result", "free"}
"""With one of these a helper ends what it tells."""

_LOADING = "dlopen "

_TWO_NUMBERS = re.compile(r"[0-9]{1,20} [0-9]{1,20}")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,20}")


HEAP_FIX = (
    "end trusted applications that are not needed, or build OP-TEE with a larger CFG_CORE_HEAP_SIZE"
)


@dataclass(frozen=True, slots=True)
class Heap:
    """OP-TEE's own heap: each instance of a trusted application takes a part of it as well."""

    total_bytes: int
    free_bytes: int

    LEAST_BYTES: ClassVar = 8 * 1024
    """With less, no trusted application is loaded, however much TA memory is free.

    One instance of the smallest took 3.3 KiB (OP-TEE 4.10). The last part is in pieces, as that of
    any heap.
    """

    INSTANCE_BYTES: ClassVar = 3400
    """What one instance of the smallest takes."""

    @property
    def is_enough(self) -> bool:
        """Whether another trusted application can be loaded."""
        return self.free_bytes >= self.LEAST_BYTES

    def __str__(self) -> str:
        more = self.free_bytes // self.INSTANCE_BYTES if self.is_enough else 0
        return (
            f"OP-TEE's own heap has {self.free_bytes // 1024} of {self.total_bytes // 1024} KiB "
            f"free: enough for about {more} more instances of small trusted applications"
        )


def heap_of(told: Mapping[str, str]) -> Heap | None:
    """Find what a helper told of OP-TEE's own heap.

    Raises:
        ValueError: it told no two numbers.
    """
    if "heap" not in told:
        return None
    total_bytes, free_bytes = map(int, told["heap"].split())
    return Heap(total_bytes, free_bytes)


@dataclass(frozen=True, slots=True)
class Reading:
    """A good answer, and whose library gave it."""

    memory: TeeMemory
    vendor: str


def reading_of(ended: Ended) -> Reading:
    """Find the reading in what a helper told.

    Raises:
        TeeError: there is none, and its kind says why.
    """
    told = believable(ended.told)
    if ended.status != 0 or not _LAST & told.keys():
        raise _unfinished(ended)
    try:
        if "problem" in told:
            kind, fix = PROBLEMS[told["problem"]]
            raise kind(told["words"], fix=fix)
        vendor = told["vendor"]
        if "failed" in told:
            call = told["failed"], int(told["result"]), int(told["origin"])
            raise error_of(vendor, *call, said=ended.complaint)
        memory = TeeMemory(total_bytes=int(told["total"]), free_bytes=int(told["free"]))
        if (heap := heap_of(told)) and not heap.is_enough:
            raise Exhausted(str(heap), fix=HEAP_FIX)
    except (KeyError, ValueError) as error:
        raise BadReply(
            f"the helper's answer can't be read ({type(error).__name__}: {error})",
            fix="report it to the plugin's authors",
        ) from error
    return Reading(memory, vendor)


def believable(told: Mapping[str, str]) -> Mapping[str, str]:
    """Leave out what no helper of ours tells in full, because it was ended meanwhile or went wild.

    `problem` then is one of `PROBLEMS` and has words, `vendor` is one of the vendors, and where a
    call `failed`, result and origin are whole numbers. `heap` is two whole numbers.
    """
    is_sound = {
        "heap": bool(_TWO_NUMBERS.fullmatch(told.get("heap", ""))),
        "problem": told.get("problem") in PROBLEMS and bool(told.get("words")),
        "vendor": told.get("vendor") in VENDORS,
        "failed": all(_WHOLE_NUMBER.fullmatch(told.get(key, "")) for key in ("result", "origin")),
    }
    return {key: value for key, value in told.items() if is_sound.get(key, True)}


def timed_out(told: Mapping[str, str], step: str, seconds: float = 0) -> TimedOut:
    """Name the call that did not return, within so many seconds if they are known."""
    words = f"{step or 'the start of the helper'} did not return"
    words += f" within {seconds:g} s" if seconds else ""
    if (told.get("vendor"), step) == (OPTEE, OPEN):
        return TimedOut(
            f"{words}: calls are stuck in the TEE, or OP-TEE has no statistics pseudo-TA and looks "
            "for it through tee-supplicant, which doesn't run",
            fix="start tee-supplicant on the node; if the TEE then refuses the query, build OP-TEE "
            "with CFG_WITH_STATS=y; otherwise look for calls stuck in the TEE",
        )
    return TimedOut(words, fix=FIXES[TimedOut])


def _unfinished(ended: Ended) -> TeeError:
    """Explain a helper that didn't come to its end by itself."""
    quote = f": {ended.complaint}" if ended.complaint else ""
    step = ended.told.get("step")
    if ended.status == WRONG_INTERPRETER:
        found = ended.told.get("interpreter", "another")
        return Unreachable(
            f"the helper's Python is {found}, not the plugin's, which was replaced or moved",
            fix=f"restart the plugin; if that doesn't help, {_UNMOVED}",
        )
    if ended.signal_name is not None:
        where = f"in {step}" if step else "while it started"
        return BadReply(
            f"{ended.signal_name} ended the helper {where}{quote}",
            fix="check the node's log for a crash of libteec, or for a lack of memory",
        )
    if step is not None and step.startswith(_LOADING):
        return Unreachable(
            f"{step.removeprefix(_LOADING)} ended the helper with status {ended.status} while "
            f"it was loaded{quote}",
            fix=f"reinstall the vendor's library, or {_NAME_LIBRARY}",
        )
    if step is None:
        return Unreachable(
            f"the helper can't start: exit status {ended.status}{quote}",
            fix=_UNMOVED,
        )
    words = f"status {ended.status} ended the helper in {step}{quote}"
    return BadReply(words, fix=FIXES[BadReply])
