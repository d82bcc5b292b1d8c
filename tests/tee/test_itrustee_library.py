"""How iTrustee's client library behaves, by each row of what is known of the real one.

The same tests run against a real library: `nox -s tee_real -- /usr/lib64/libteec.so`. Rows that
need a TEE behind it, or a mock teecd, are left out then.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.tee.build import Built, read_log, write_signed
from tests.tee.clients import Client
from tests.tee.teecd import MockTeecd

REAL = os.environ.get("TEEPLUGIN_REAL_LIBTEEC", "")
"""A real library of iTrustee's, whose path is fixed in it; the mock if there is none."""

pytestmark = pytest.mark.timeout(120)
mock_only = pytest.mark.skipif(bool(REAL), reason="needs a TEE behind the library")

# Loads the library as the plugin's helper does, its words on standard error.
_LOADED = """
import ctypes, sys
from teeplugin_backends.libteec import client
client.hear_library()
library = client.load([sys.argv[1]], "itrustee", lambda *told: None)
"""
_INITIALIZE = """
from teeplugin_backends.libteec import abi
contexts = [abi.ItrusteeContext() for _ in range(int(sys.argv[2]))]
for context in contexts:
    try:
        library.call("TEEC_InitializeContext", None, ctypes.byref(context))
    except client.CallError as error:
        print(f"{error.result:#010x}")
    else:
        print("0x00000000")
"""


class Library:
    """The library under test, and a client of it with a directory of its own."""

    def __init__(self, built: Built, client: Client) -> None:
        self.path = Path(REAL) if REAL else built.itrustee
        self.client = client
        self._misuse = built.misuse["itrustee"]

    def initialize(
        self, environ: Mapping[str, str], times: int = 1
    ) -> tuple[list[str], str, float]:
        """Give the results, what it says, and the seconds."""
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-c", _LOADED + _INITIALIZE, str(self.path), str(times)],
            env={**os.environ, "TEST_TEE_LOG": str(self.client.log), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return ended.stdout.split(), ended.stderr, time.monotonic() - began

    def use(self, way: str, ta_path: Path | str | None = None, **state: object) -> list[str]:
        """Use it in one of the ways that misuse.c knows: what that printed."""
        self.client.tell(**state)
        self.client.log.unlink(missing_ok=True)
        words = [str(self.path), way, *([] if ta_path is None else [str(ta_path)])]
        ended = self.client.run(self._misuse, *words)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout.splitlines()


@pytest.fixture
def library(built: Built, client: Callable[[Built], Client]) -> Library:
    return Library(built, client(built))


@pytest.fixture
def teecd(tmp_path: Path) -> MockTeecd:
    return MockTeecd(tmp_path / "teecd.sock")


def at(teecd: MockTeecd) -> dict[str, str]:
    return {"TEST_TEE_TEECD": str(teecd.path)}


@pytest.mark.parametrize("what", ["no teecd", "a stale socket"])
def test_row_no_teecd_it_tries_for_ten_seconds_and_says_why(
    library: Library, teecd: MockTeecd, what: str
) -> None:
    if what == "a stale socket":
        if REAL:
            pytest.skip("leaves the node's own socket alone")
        teecd.start()
        teecd.kill()
    [result], said, seconds = library.initialize(at(teecd))
    assert result == "0xffff0000"
    assert 10 < seconds < 13
    number = 2 if what == "no teecd" else 111
    assert f"connect() failed, errno={number}" in said


@mock_only
def test_row_the_version_is_asked_first_and_once_in_a_process(
    library: Library, tmp_path: Path
) -> None:
    with MockTeecd(tmp_path / "teecd.sock", major=3) as other:
        results, said, seconds = library.initialize(at(other), 2)
    assert results == ["0xffff0000"] * 2
    assert seconds < 5
    assert "check major version failed, libteec major version 2, teecd major version 3" in said
    with MockTeecd(tmp_path / "teecd.sock") as fitting:
        assert library.initialize(at(fitting), 2)[0] == ["0x00000000"] * 2


@mock_only
@pytest.mark.parametrize("path", [None, "ta.bin", "/" + "x" * 251 + ".sec"])
def test_row_a_ta_path_that_it_does_not_take_is_as_good_as_none(
    library: Library, path: str | None
) -> None:
    # In its own place there is no file: it asks the TEE for one that is built in.
    given = path and library.client.directory / path
    assert library.use("unknown_uuid", given)[-1] == "open 0x00000002 3"
    assert library.use("rightly", given)[1] == "open 0x00000000 4"


@mock_only
def test_row_a_file_that_is_named_must_be_there_and_really_end_in_sec(library: Library) -> None:
    directory = library.client.directory
    (directory / "ta.bin").touch()
    (directory / "link.sec").symlink_to(directory / "ta.bin")
    for path in ("absent.sec", "link.sec"):
        assert library.use("rightly", directory / path)[1] == "open 0x0000000d 1", path


@mock_only
@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(10),
        bytes(100),
        struct.pack("<IHHII", 0xA5A55A5A, 0x55AA, 4, 9 << 20, 0) + bytes(64),
        struct.pack("<IHHII", 0xA5A55A5A, 0x55AA, 4, 64, 0) + bytes(63),
    ],
    ids=["empty", "ten zeros", "another magic", "too large", "cut"],
)
def test_row_the_head_of_the_signed_file_is_read(library: Library, content: bytes) -> None:
    library.client.ta_path.write_bytes(content)
    assert library.use("rightly", library.client.ta_path)[1] == "open 0x0000000d 1"
    write_signed(library.client.ta_path)
    assert library.use("rightly", library.client.ta_path)[1] == "open 0x00000000 4"


@mock_only
def test_row_the_drivers_efault_is_access_denied_with_origin_2(library: Library) -> None:
    said = library.use("rightly", library.client.ta_path, fault="invoke:errno:14")
    assert said[2] == "invoke 0xffff0001 2"


@mock_only
def test_row_an_answer_longer_than_the_buffer_is_that_efault(library: Library) -> None:
    said = library.use("rightly", library.client.ta_path, reply_size=116)
    assert said[2] == "invoke 0xffff0001 2"


@mock_only
@pytest.mark.parametrize("errno", [5, 12, 14])
def test_row_any_errno_at_open_is_generic_with_origin_2(library: Library, errno: int) -> None:
    said = library.use("unknown_uuid", library.client.ta_path, fault=f"open:errno:{errno}")
    assert said[-1] == "open 0xffff0000 2"


@mock_only
def test_row_ca_auth_fail_is_asked_31_times_with_the_whole_file(library: Library) -> None:
    write_signed(library.client.ta_path, bytes(1000))
    fault = "open:result:0xFFFFCFE5"
    said = library.use("unknown_uuid", library.client.ta_path, fault=fault)
    assert said[-1] == "open 0xffffcfe5 3"
    asked = read_log(library.client.log, "asked")
    assert [line["bytes"] for line in asked] == ["1016"] * 31


@mock_only
def test_row_what_it_writes_into_a_session(library: Library) -> None:
    said = library.use("session_printed", library.client.ta_path)
    # ops_cnt, the UUID, the context; after the close all but ops_cnt is zeroed.
    assert [line for line in said if line.startswith(("opened", "closed"))] == [
        "opened 2 1 1",
        "closed 0 0 2 1",
    ]


@mock_only
@pytest.mark.parametrize(
    ("argv0", "known_as"), [("/usr/bin/java", "the last"), ("/usr/bin/javac", "/usr/bin/javac")]
)
def test_row_a_java_machine_is_known_by_its_last_argument(
    library: Library, argv0: str, known_as: str
) -> None:
    library.client = library.client.with_(argv0=argv0)
    library.use("unknown_uuid", "the last")
    (opened,) = [line for line in read_log(library.client.log, "call") if line["call"] == "open"]
    assert opened["argv0"] == known_as


@mock_only
@pytest.mark.parametrize("way", ["types_of_itrustee", "types_above_16_bits", "buffer_empty"])
def test_row_parameters_that_it_takes(library: Library, way: str) -> None:
    library.use(way, library.client.ta_path)
    assert library.client.refusals() == []


def test_row_its_own_words_go_to_standard_error_where_openlog_was_called_before(
    library: Library, tmp_path: Path
) -> None:
    if REAL:
        pytest.skip("the row without teecd shows it")
    with MockTeecd(tmp_path / "teecd.sock", major=3) as other:
        _, said, _ = library.initialize(at(other))
    assert said.splitlines()[-1].startswith("libteec: check major version failed")
    assert said.count("libteec: ") == len(said.splitlines())


def test_its_symbols_tell_it_from_optees(library: Library) -> None:
    names = subprocess.run(
        ["readelf", "-W", "--dyn-syms", str(library.path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "TEEC_EXT_RegisterAgent" in names
    assert "TEEC_RegisterSharedMemoryFileDescriptor" not in names


def test_it_ends_a_process_that_has_ld_preload_set(library: Library) -> None:
    environ = {**os.environ, "LD_PRELOAD": "libm.so.6"}
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED, str(library.path)],
        env=environ,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 255
