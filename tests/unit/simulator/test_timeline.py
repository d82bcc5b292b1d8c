"""The plugin's log in the timeline: JSON for people, and anything else as it is."""

import pytest

from teeplugin.simulator.connection import go_error_text
from teeplugin.simulator.events import Event, EventKind
from teeplugin.simulator.timeline import ERROR, INFO, Timeline, readable


def test_a_line_of_json_is_told_without_its_head() -> None:
    line = (
        '{"timestamp": "2026-01-01T00:00:00.000Z", "level": "error", "event": "lost", "units": 2}'
    )
    timeline = Timeline()
    timeline.plugin(line)
    assert [(entry.text, entry.level) for entry in timeline.entries] == [("lost units=2", ERROR)]
    assert timeline.events == ["lost"]
    assert readable(line) == "error lost units=2"


@pytest.mark.parametrize("line", ["", "Traceback", "[1]", '{"a": ', '{"a":' + "[" * 100_000])
def test_a_line_that_is_no_json_stays_as_it_is(line: str) -> None:
    timeline = Timeline()
    timeline.plugin(line)
    assert [(entry.text, entry.level) for entry in timeline.entries] == [(line, INFO)]
    assert timeline.events == []
    assert readable(line) == line


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError("reset"), "stream ended: the plugin closed it"),
        (TimeoutError(), f"stream ended: a.sock, {go_error_text(TimeoutError())}"),
    ],
)
def test_a_stream_that_the_plugin_closed_is_told_in_words(error: Exception, words: str) -> None:
    timeline = Timeline()
    text = go_error_text(error)
    timeline.kubelet(Event(kind=EventKind.STREAM_ENDED, at=0, endpoint="a.sock", text=text))
    entry = timeline.entries[-1]
    assert (entry.text, entry.words) == (f"stream ended: a.sock, {text}", words)
