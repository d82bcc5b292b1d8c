"""What libteec's results and a helper's end become: the kind, the words, the fix."""

import re
from pathlib import Path

import pytest

from teeplugin_backends.base import (
    TEE_ERRORS,
    BadReply,
    Busy,
    Exhausted,
    Refused,
    TeeError,
    TeeMemory,
    Unreachable,
)
from teeplugin_backends.libteec.answers import Reading, reading_of
from teeplugin_backends.libteec.checks import Way
from teeplugin_backends.libteec.options import Options
from teeplugin_backends.libteec.process import WRONG_INTERPRETER, Ended
from teeplugin_backends.libteec.results import FIXES, MEANINGS, error_of

INIT, OPEN, INVOKE = "TEEC_InitializeContext", "TEEC_OpenSession", "TEEC_InvokeCommand"

# What a client sees in each situation that was met or is documented.
SITUATIONS: list[tuple[str, str, int, int, type[TeeError], str]] = [
    ("optee", INIT, 0xFFFF0008, 0, Unreachable, "/dev/tee0"),
    ("itrustee", INIT, 0xFFFF0000, 0, Unreachable, "daemon run on this node"),
    ("itrustee", INIT, 0xFFFF000E, 0, Unreachable, "daemon"),
    ("optee", OPEN, 0xFFFF0008, 3, Refused, "CFG_WITH_STATS=y"),
    ("itrustee", OPEN, 0xFFFF0008, 3, Refused, "ta-path"),
    ("itrustee", OPEN, 0x2, 3, Refused, "ta-path"),
    ("itrustee", OPEN, 0x4, 3, Busy, "sessions"),
    ("itrustee", OPEN, 0xD, 1, Refused, "ta-path"),
    ("itrustee", OPEN, 0xFFFF0001, 4, Refused, "tee-device-plugin identity"),
    ("itrustee", OPEN, 0xFFFF0001, 2, BadReply, "this UUID"),
    ("itrustee", INVOKE, 0xFFFF0001, 2, BadReply, "this UUID"),
    ("itrustee", OPEN, 0xFFFF0000, 2, BadReply, "dmesg"),
    ("itrustee", OPEN, 0xFFFF9117, 3, Refused, "tee-device-plugin identity"),
    ("itrustee", OPEN, 0xFFFFCFE5, 3, Refused, "tee-device-plugin identity"),
    ("itrustee", OPEN, 0xFFFF9116, 3, Refused, "file"),
    ("itrustee", OPEN, 0xFFFF3072, 3, Refused, "certificate"),
    ("itrustee", OPEN, 0xFFFF000F, 3, Refused, "certificate"),
    ("itrustee", OPEN, 0xFFFF0009, 1, BadReply, "match"),
    ("itrustee", OPEN, 0xFFFF000C, 3, Exhausted, "free secure memory"),
    ("itrustee", OPEN, 0xFFFF000C, 1, BadReply, ""),
    ("itrustee", OPEN, 0xFFFF000D, 3, Busy, "multi_session"),
    ("itrustee", OPEN, 0xFFFF9114, 3, Busy, ""),
    ("itrustee", OPEN, 0xFFFFABAB, 3, Unreachable, "retries"),
    ("itrustee", OPEN, 0xFFFF3124, 3, Unreachable, "restart the node"),
    ("itrustee", INVOKE, 0xFFFF0006, 4, BadReply, "match"),
    ("itrustee", INVOKE, 0xFFFF000A, 4, BadReply, "match"),
    ("itrustee", INVOKE, 0xFFFF0010, 4, BadReply, "match"),
    ("itrustee", INVOKE, 0xFFFF3024, 3, BadReply, "panic"),
    ("itrustee", INVOKE, 0xFFFF5002, 3, BadReply, ""),
    ("itrustee", INVOKE, 0xFFFF0000, 3, BadReply, ""),
    ("optee", INVOKE, 0x12345678, 3, BadReply, ""),
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=str)
def test_a_result_is_its_kind_of_fault_with_words_and_a_fix(
    situation: tuple[str, str, int, int, type[TeeError], str],
) -> None:
    vendor, step, result, origin, kind, fix = situation
    error = error_of(vendor, step, result, origin)
    assert isinstance(error, kind)
    assert error.kind == kind.kind
    assert f"{result:#010X}"[2:] in str(error)
    assert str(error).startswith(f"{step}: 0x{result:08X} ")
    assert fix in error.fix
    assert error.fix


@pytest.mark.parametrize("result", MEANINGS)
def test_every_known_result_has_a_name_and_words(result: int) -> None:
    meaning = MEANINGS[result]
    assert meaning.name.isupper()
    assert meaning.words
    assert issubclass(meaning.kind, TeeError)


@pytest.mark.parametrize("kind", TEE_ERRORS)
def test_the_fix_of_a_kind_is_for_any_tee_and_libteec_has_its_own(kind: type[TeeError]) -> None:
    assert not re.search("trusted application|TEE OS|allowlist|supplicant", kind.default_fix)
    assert kind is Busy or FIXES[kind] != kind.default_fix


def test_the_origin_is_told_where_there_is_one() -> None:
    assert "GENERIC from the trusted application: " in str(error_of("optee", OPEN, 0xFFFF0000, 4))
    assert "GENERIC: " in str(error_of("optee", INIT, 0xFFFF0000, 0))


def fault(status: int = 0, complaint: str = "", **told: str) -> TeeError:
    with pytest.raises(TeeError) as caught:
        reading_of(Ended(status, told, complaint))
    return caught.value


def test_a_good_answer_is_a_reading() -> None:
    told = {"step": "TEEC_FinalizeContext", "vendor": "optee", "total": "15", "free": "0"}
    assert reading_of(Ended(0, told)) == Reading(TeeMemory(15, 0), "optee")


def test_a_failed_call_is_its_error() -> None:
    error = fault(vendor="itrustee", failed=OPEN, result=str(0xFFFF9117), origin="3")
    assert isinstance(error, Refused)
    assert f"{OPEN}: 0xFFFF9117" in str(error)


@pytest.mark.parametrize(
    ("problem", "kind", "fix"),
    [
        ("library", Unreachable, "mount"),
        ("symbol", Unreachable, "library="),
        ("vendor", Unreachable, "flavour="),
        ("preload", Unreachable, "LD_PRELOAD"),
        ("identity", Refused, "wrapper"),
        ("nobody", Refused, "/etc/passwd"),
        ("user", Refused, "user="),
        ("rejected", BadReply, "match each other"),
    ],
)
def test_a_problem_before_or_after_the_calls_has_its_kind_and_fix(
    problem: str, kind: type[TeeError], fix: str
) -> None:
    error = fault(problem=problem, words="that is so")
    assert type(error) is kind
    assert str(error) == "that is so"
    assert fix in error.fix


@pytest.mark.parametrize(
    "told",
    [
        {"vendor": "optee", "failed": OPEN, "result": "4294901768"},
        {"vendor": "optee", "failed": OPEN, "result": "1u", "origin": "3"},
        {"vendor": "opt", "total": "2", "free": "1"},
        {"vendor": "optee", "total": "1", "free": "2"},
        {"problem": "user", "words": ""},
        {"problem": "hunger", "words": "so it is"},
    ],
    ids=["half", "no number", "vendor", "too much free", "no words", "problem"],
)
def test_what_no_helper_tells_is_a_bad_reply_and_no_surprise_to_doctor(
    told: dict[str, str],
) -> None:
    with pytest.raises(BadReply, match=r"."):
        reading_of(Ended(0, told))
    assert list(Way(Options(), told, Path("/nowhere")).findings())


def test_a_crash_is_named_by_its_signal_and_its_call() -> None:
    error = fault(-11, "free(): invalid pointer", vendor="optee", step=INVOKE)
    assert isinstance(error, BadReply)
    assert str(error) == f"SIGSEGV ended the helper in {INVOKE}: free(): invalid pointer"
    assert "SIGABRT ended the helper while it started" in str(fault(-6))
    assert "signal 63 ended" in str(fault(-63))


def test_a_library_that_ends_the_process_while_it_is_loaded_is_unreachable() -> None:
    error = fault(255, step="dlopen /usr/lib64/libteec.so")
    assert isinstance(error, Unreachable)
    assert "/usr/lib64/libteec.so ended the helper with status 255" in str(error)
    assert "vendor's library" in error.fix


@pytest.mark.parametrize("status", [0, 3])
def test_a_library_that_ends_the_process_in_a_call_gave_no_answer(status: int) -> None:
    error = fault(status, vendor="itrustee", step=OPEN)
    assert isinstance(error, BadReply)
    assert str(error) == f"status {status} ended the helper in {OPEN}"


def test_an_interpreter_that_cant_start_is_told_with_its_complaint() -> None:
    error = fault(1, "Fatal Python error: init_fs_encoding")
    assert isinstance(error, Unreachable)
    assert "init_fs_encoding" in str(error)


def test_another_interpreter_than_the_plugins_is_told_as_such() -> None:
    error = fault(WRONG_INTERPRETER, interpreter="3.11.7 of /usr")
    assert isinstance(error, Unreachable)
    assert "is 3.11.7 of /usr, not the plugin's" in str(error)
    assert "restart the plugin" in error.fix


@pytest.mark.parametrize(
    "told",
    [
        {"free": "1"},
        {"vendor": "optee", "total": "1", "free": "x"},
        {"vendor": "optee", "total": "1", "free": "2"},
        {"problem": "unheard of", "words": ""},
        {"result": "1"},
    ],
)
def test_an_answer_that_cant_be_read_is_a_bad_reply(told: dict[str, str]) -> None:
    with pytest.raises(BadReply) as caught:
        reading_of(Ended(0, told))
    assert "can't be read" in str(caught.value)
