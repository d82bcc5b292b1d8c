"""The log on a stream that is full, closed or not read."""

import errno
import fcntl
import io
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

from teeplugin.logs.setup import LogFormat, configure, get_logger
from tests.unit.logs.capture import configured, objects

# --- a stream that can't be written --------------------------------------------------------------


class Full(io.StringIO):
    """A stream on a disk that is full until it is `freed`."""

    freed = False

    def write(self, text: str) -> int:
        if self.freed:
            return super().write(text)
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_nothing() -> None:
    configure("json", "info", Full())
    get_logger().info("lost")


def test_a_closed_stream_ends_nothing() -> None:
    stream = configured()
    stream.close()
    get_logger().info("lost")


def test_no_standard_error_at_all_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    configure("text", "info")
    get_logger().info("lost")


def test_a_pipe_without_a_reader_leaves_the_exit_status_alone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = (
        "from teeplugin.logs.setup import configure, get_logger; configure('text', 'info');"
        " get_logger().info('lost'); print('alive')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=writer,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stdout) == (0, b"alive\n")


class Stuck:
    """A log into a pipe of one page that is read only on demand."""

    def __init__(self, log_format: LogFormat) -> None:
        self._reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self._stream = os.fdopen(writer, "w")
        configure(log_format, "info", self._stream)

    def drained(self) -> bytes:
        data = b""
        while select.select([self._reader], [], [], 0)[0]:
            data += os.read(self._reader, 65536)
        return data

    def close(self) -> None:
        self._stream.close()
        os.close(self._reader)


@pytest.fixture(params=["json", "text"])
def stuck(request: pytest.FixtureRequest) -> Iterator[Stuck]:
    stuck = Stuck(request.param)
    yield stuck
    stuck.close()


@pytest.mark.timeout(20)
def test_a_pipe_that_nobody_reads_stops_nobody_and_its_loss_is_told(stuck: Stuck) -> None:
    for number in range(5000):
        get_logger().info("storm", number=number)
    written = stuck.drained()
    assert written.endswith(b"\n")
    get_logger().info("after")
    told, after = stuck.drained().splitlines()
    get_logger().info("later")
    [later] = stuck.drained().splitlines()
    assert b"log_lines_dropped" in told
    assert b"warning" in told
    assert b"stderr" in told
    assert str(5000 - written.count(b"\n")).encode() in told
    assert b"after" in after
    assert b"later" in later


@pytest.mark.timeout(20)
def test_a_line_that_stopped_half_way_is_not_continued() -> None:
    stuck = Stuck("json")
    get_logger().info("long", text="x" * 10_000)
    half = stuck.drained()
    assert len(half) == 4096
    get_logger().info("after")
    end, told, after = stuck.drained().splitlines()
    get_logger().info("long", text="x" * 10_000)
    stuck.drained()
    get_logger().info("long", text="x" * 10_000)  # only its told loss gets through
    _, told_again, _ = stuck.drained().splitlines()
    get_logger().info("later")
    _, told_at_last, later = stuck.drained().splitlines()
    stuck.close()
    assert end == b""
    assert json.loads(told)["dropped"] == 1
    assert json.loads(after)["event"] == "after"
    assert json.loads(told_again)["dropped"] == 1
    assert json.loads(told_at_last)["dropped"] == 1
    assert json.loads(later)["event"] == "later"


@pytest.mark.timeout(20)
def test_a_long_line_is_whole_where_somebody_reads() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        configure("json", "info", stream)
        get_logger().info("long", text="x" * 40_000)
    with os.fdopen(reader) as lines:
        assert [json.loads(line)["text"] for line in lines] == ["x" * 40_000]


def test_what_a_full_disk_lost_is_told_when_it_has_room() -> None:
    stream = Full()
    configure("json", "info", stream)
    get_logger().info("lost")
    stream.freed = True
    get_logger().info("after")
    told, after = objects(stream)
    assert (told["event"], told["logger"], told["dropped"]) == ("log_lines_dropped", "stderr", 1)
    assert after["event"] == "after"


def test_an_error_that_nobody_can_catch_is_a_line() -> None:
    stream = configured()

    class Ending:
        def __del__(self) -> None:
            raise OSError("at the end")

    Ending()
    (entry,) = objects(stream)
    assert entry["event"] == "unraisable_error"
    assert entry["error"] == "OSError: at the end"
    assert str(entry["where"]).endswith("Ending.__del__")
