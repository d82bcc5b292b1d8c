"""The log: one line a message whatever is in it, and no storm of them."""

import errno
import fcntl
import io
import json
import logging
import os
import select
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from teeplugin.logs.setup import LogFormat, LogLevel, configure, get_logger
from teeplugin.logs.stdlib import MAX_KINDS, RateLimit, Router


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """Give other tests the logging they expect."""
    root = logging.getLogger()
    level = root.level
    hook = sys.unraisablehook
    yield
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, Router)]
    logging.getLogger("hpack").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)
    sys.unraisablehook = hook


def configured(log_format: LogFormat = "json", level: LogLevel = "info") -> io.StringIO:
    stream = io.StringIO()
    configure(log_format, level, stream)
    return stream


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with(error: Exception) -> None:
    raise error


def library_logger(limit: RateLimit) -> logging.Logger:
    """A logger that no other test and none of pytest's handlers has."""
    log = logging.Logger("library")  # noqa: LOG001 - see above
    log.addHandler(Router(get_logger(), logging.INFO, limit))
    return log


def test_json_is_one_object_a_line_with_time_level_and_event_first() -> None:
    stream = configured()
    get_logger().info("listed", units=2, healthy=True, reason=None)
    [line] = objects(stream)
    assert list(line) == ["timestamp", "level", "event", "units", "healthy", "reason"]
    assert list(line.values())[1:] == ["info", "listed", 2, True, None]
    stamp = str(line["timestamp"])
    assert len(stamp) == len("2026-01-02T03:04:05.678Z")
    assert datetime.fromisoformat(stamp).utcoffset() is not None


def test_text_is_key_value_with_time_level_and_event_first() -> None:
    stream = configured("text")
    get_logger().warning("two words", units=2, path="/a b", quote='"', empty="", none=None)
    stamp, _, rest = stream.getvalue().partition(" ")
    assert stamp.startswith("timestamp=2")
    expected = r'level=warning event="two words" units=2 path="/a b" quote="\"" empty="" none=null'
    assert rest == f"{expected}\n"


def test_a_message_below_the_level_is_not_written() -> None:
    stream = configured(level="warning")
    get_logger().info("quiet")
    logging.getLogger("asyncio").info("quiet")
    assert stream.getvalue() == ""


def test_a_logger_made_before_the_setting_up_follows_it() -> None:
    early = get_logger()
    early.bind()
    stream = configured()
    early.info("now")
    assert objects(stream)[0]["event"] == "now"


@given(st.text(), st.dictionaries(st.text(), st.text() | st.floats() | st.binary(), max_size=3))
def test_nothing_breaks_out_of_its_line(event: str, values: dict[str, object]) -> None:
    for log_format in ("json", "text"):
        stream = configured(log_format)
        get_logger().info("fixed", text=event, values=values, number=float("nan"))
        assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_an_error_is_one_line_with_its_traceback() -> None:
    for log_format in ("json", "text"):
        stream = configured(log_format)
        try:
            fail_with(ValueError("two\nlines"))
        except ValueError:
            get_logger().exception("failed")
        assert stream.getvalue().count("\n") == 1
        assert "level=error" in stream.getvalue() or '"level": "error"' in stream.getvalue()
        assert "ValueError: two" in stream.getvalue()
        assert "Traceback" in stream.getvalue()


def test_the_errors_of_a_group_are_named() -> None:
    stream = configured()
    group = ExceptionGroup("several", [OSError("a"), ExceptionGroup("more", [KeyError("b")])])
    get_logger().error("failed", exc_info=group)
    get_logger().error("failed", error=group)
    texts = [line["error"] for line in objects(stream)]
    assert texts == ["OSError: a; KeyError: 'b'"] * 2


class Nameless:
    """Something whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_value_without_a_text_ends_nothing() -> None:
    stream = configured()
    get_logger().info("odd", value=Nameless(), nested=[Nameless()], huge=10**5000)
    [line] = objects(stream)
    assert line["value"] == "<Nameless without a text>"
    assert line["nested"] == "<list without a text>"


# --- the standard library's records --------------------------------------------------------------


def test_a_librarys_traceback_is_reduced_to_type_and_message() -> None:
    stream = configured()
    try:
        fail_with(ConnectionResetError("gone"))
    except ConnectionResetError:
        logging.getLogger("grpclib.server").exception("Application error")
    [line] = objects(stream)
    assert line["event"] == "Application error"
    assert line["level"] == "error"
    assert line["logger"] == "grpclib.server"
    assert line["error"] == "ConnectionResetError: gone"
    assert "traceback" not in line


def test_the_traceback_is_there_at_debug() -> None:
    stream = configured(level="debug")
    try:
        fail_with(ConnectionResetError("gone"))
    except ConnectionResetError:
        logging.getLogger("asyncio").exception("Fatal error\nprotocol: <P>\ntransport: <T>")
    [line] = objects(stream)
    assert line["event"] == "Fatal error"
    assert line["detail"] == "protocol: <P>; transport: <T>"
    assert "Traceback" in str(line["traceback"])


def test_a_record_with_a_wrong_format_is_logged_as_it_is() -> None:
    stream = configured()
    library_logger(RateLimit()).info("%d apples", "no")
    assert objects(stream)[0]["event"] == "%d apples"


def test_a_level_of_a_librarys_own_is_rounded_down() -> None:
    stream = configured(level="debug")
    logging.getLogger("library").log(35, "own")
    logging.getLogger("library").log(99, "own")
    assert [line["level"] for line in objects(stream)] == ["warning", "critical"]


def test_warnings_are_led_into_the_log() -> None:
    stream = configured()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    [line] = objects(stream)
    assert line["logger"] == "py.warnings"
    assert "DeprecationWarning: old ways" in str(line["event"])


def test_setting_up_twice_writes_once() -> None:
    configured()
    stream = configured()
    logging.getLogger("library").warning("once")
    assert len(objects(stream)) == 1


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_storm_is_cut_and_told_when_its_window_is_over() -> None:
    stream = configured()
    clock = Clock()
    log = library_logger(RateLimit(clock=clock))
    for number in range(1000):
        log.error("request %d failed", number)
    log.error("something else")
    assert len(objects(stream)) == 11
    clock.now = 60
    log.error("something else")
    dropped, other = objects(stream)[11:]
    assert other["event"] == "something else"
    assert dropped["event"] == "log_lines_dropped"
    assert dropped["logger"] == "library"
    assert dropped["like"] == "request %d failed"
    assert dropped["dropped"] == 990


def test_kinds_without_end_share_one_count() -> None:
    clock = Clock()
    limit = RateLimit(most=1, clock=clock)
    admitted = [limit.admits("library", f"kind {number}") for number in range(1000)]
    assert sum(admitted) == MAX_KINDS + 1
    clock.now = 60
    assert list(limit.ended()) == [("library", "", 1000 - MAX_KINDS - 1)]
    assert limit.admits("library", "kind 999")


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
