"""What comes from the TEE's side: the helper's answer, structures, options, files of the node."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import anyio

from teeplugin_backends import simulated
from teeplugin_backends.base import OptionError, TeeError, TeeMemory
from teeplugin_backends.libteec import abi, checks, files, helper, usage
from teeplugin_backends.libteec.answers import PROBLEMS, reading_of
from teeplugin_backends.libteec.client import (
    ITRUSTEE,
    OPTEE,
    ReplyError,
    accept_reply,
    accept_statistics,
)
from teeplugin_backends.libteec.options import DEFAULT_UUID, Options
from teeplugin_backends.libteec.process import WRONG_INTERPRETER, Ended, _last_line, _told
from teeplugin_backends.libteec.results import error_of
from teeplugin_backends.options import pair_text, parse_options
from tests.fuzz.target import Target, as_text, check_line, in_memory, parts_of, result_of

STATUSES = (0, 0, 0, 0, 0, WRONG_INTERPRETER, -9, 1)
STEPS = (
    "TEEC_InitializeContext",
    "TEEC_OpenSession",
    "TEEC_InvokeCommand",
    "TEEC_CloseSession",
)


def helper_answer(data: bytes) -> None:
    """A status, what the helper printed, and, after a zero, its complaint; for backend and doctor.

    A reading that can be, or a TeeError in one line with a fix.
    """
    status = STATUSES[data[0] % len(STATUSES)] if data else 0
    printed, complaint = (part.decode("utf-8", "replace") for part in parts_of(data[1:], 2))
    ended = Ended(status, _told(printed), _last_line(complaint))
    try:
        reading = reading_of(ended)
    except TeeError as error:
        _tells(error)
    else:
        assert status == 0
        used = usage.applications(ended.told.get("memstat", ""), reading.memory.total_bytes)
        assert all(name.isprintable() and amount >= 0 for name, amount in used.items())
        assert 0 <= reading.memory.free_bytes <= reading.memory.total_bytes
    with (
        mock.patch.object(files, "process_runs", return_value=False),
        mock.patch.object(files, "find_library", return_value="/lib/libteec.so"),
        mock.patch.object(usage, "long_calls", return_value=[]),
    ):
        findings = list(checks.Way(Options(), ended.told, Path("/nowhere")).findings())
    assert {finding.check for finding in findings} <= set(checks.CHECKS)


def _tells(error: TeeError) -> None:
    assert str(error), type(error)
    assert error.fix, error
    assert len(str(error).splitlines()) == 1, error


def structures(data: bytes) -> None:
    """What libteec leaves in its structures, and its results: confirmed, or a ReplyError."""
    size, result, origin, unit = struct.unpack("<4I", data[:16].ljust(16, b"\0"))
    record = data[16 : 16 + 64].ljust(64, b"\0")
    total, free = struct.unpack_from("<2Q", record)
    _confirmed(lambda: accept_reply(returned_bytes=size, total=total, free=free, unit_bytes=unit))
    _confirmed(lambda: accept_statistics(record, size))
    for vendor in (ITRUSTEE, OPTEE):
        for step in STEPS:
            error = error_of(vendor, step, result, origin)
            _tells(error)
            assert f"{result:#010x}"[2:].upper() in str(error).upper()


def _confirmed(accept: Any) -> None:
    try:
        total, free = accept()
    except ReplyError as error:
        check_line(error)
        return
    assert 0 <= free <= total <= 2**64, (total, free)
    TeeMemory(total_bytes=total, free_bytes=free)


def _pairs(text: str) -> Mapping[str, str]:
    lines = (line.partition("=") for line in text.split("\n"))
    return {key: value for key, equals, value in lines if equals}


def options(data: bytes) -> None:
    """Lines KEY=VALUE, to both backends: a backend or an OptionError."""
    pairs = _pairs(as_text(data))
    for defaults in (Options(), simulated.Options()):
        try:
            made = parse_options(pairs, defaults)
        except OptionError as error:
            _names_one(error, pairs)
            continue
        if isinstance(made, Options):
            os.fsencode(made.ta_file)
            assert "\0" not in f"{made.ta_file}{made.identity}{made.library}", made


def _names_one(error: OptionError, pairs: Mapping[str, str]) -> None:
    named = tuple(f"{pair_text(key, text)}: " for key, text in pairs.items())
    assert str(error).startswith(named), error
    assert str(error).isprintable(), error


class _HangsError(BaseException):
    """The simulated TEE was told to hang."""


async def _no_sleep(seconds: float) -> None:
    assert 0 <= seconds < float("inf")


async def _hang() -> None:
    raise _HangsError


def state_file(data: bytes) -> None:
    """The simulated TEE's state: what it plays, or a BadReply that names the file."""
    with (
        in_memory(data) as path,
        mock.patch.object(anyio, "sleep", _no_sleep),
        mock.patch.object(anyio, "sleep_forever", _hang),
    ):
        tee = simulated.SimulatedTee.from_options({"state": path})
        try:
            result_of(tee.memory())
        except TeeError as error:
            _tells(error)
        except _HangsError:
            assert b"hang" in data
        except RuntimeError:
            assert b"bug" in data
        result_of(tee.checks(Path("/")))


def node_files(data: bytes) -> None:
    """/etc/passwd and the loader's cache, as bytes that anybody may have left there."""
    passwd, cache = parts_of(data, 2)
    with in_memory(passwd) as path, mock.patch.object(helper, "open", _opens(path), create=True):
        name = helper.passwd_name(0)
    rows = [line.split(b":") for line in passwd.split(b"\n")]
    names = [os.fsdecode(row[0]) for row in rows if len(row) > 3 and row[2] == b"0"]
    assert name == (names[0] if names else None), (name, names)
    with in_memory(cache) as path, mock.patch.object(files, "_LOADER_CACHE", Path(path)):
        found = files.find_library(("libfuzz.so.77",))
    assert not found or (found.startswith("/") and found.endswith("/libfuzz.so.77")), found


def _opens(path: str) -> Any:
    return lambda _name, mode: Path(path).open(mode)


_TOLD = ("step ", "library ", "vendor itrustee", "vendor optee", "problem ", "words ", "failed ")
_NUMBERS = ("\ntotal 67108864", "\nfree 1", "\norigin 3", "\nresult 4294967295", "dlopen ")
_RESULTS = tuple(
    struct.pack("<I", value)
    for name, value in vars(abi).items()
    if name.startswith("ERROR_") and isinstance(value, int)
)
_FAULTS = ("none", "hang", "bug", "busy", "exhausted", "unreachable")

TARGETS = (
    Target("helper-answer", helper_answer, words=(*_TOLD, *_NUMBERS, *STEPS, *PROBLEMS)),
    Target("tee-structures", structures, words=_RESULTS, most_bytes=80),
    Target(
        "backend-options",
        options,
        words=(
            *("flavour=", "library=/", "uuid=", DEFAULT_UUID, "ta-path=/", ".sec", "identity=/"),
            *("user=", "device=/dev/", "total=", "64MiB", "latency=", "state=", "access="),
        ),
        most_bytes=6000,
    ),
    Target(
        "state-file",
        state_file,
        words=(
            *("total=", "pods = ", "others=", "latency=0.5", "1e300", "64 MiB", "#"),
            *(f"fault={fault}\n" for fault in _FAULTS),
        ),
        most_bytes=6000,
    ),
    Target(
        "node-files",
        node_files,
        words=(b":x:0:0:", b"/usr/lib64/libfuzz.so.77\0", b"root"),
        most_bytes=9000,
    ),
)
