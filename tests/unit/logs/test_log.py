"""The log: one line a message whatever is in it, and no storm of them."""

import logging
import warnings
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from teeplugin.logs.setup import get_logger
from teeplugin.logs.stdlib import MAX_KINDS, RateLimit, Router
from tests.unit.logs.capture import configured, objects


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
