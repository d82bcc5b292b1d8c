"""Log events as sentences: each is one of docs/events.md, with fields that it has."""

import re
import string
from pathlib import Path

import pytest

from teeplugin.simulator.event_words import _SENTENCES, sentence

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")
FIELDS = {
    event: set(re.findall(r"`(\w+)`", fields))
    for event, fields in re.findall(r"^\| `(\w+)` \| \w+ \|([^|]*)\|", PAGE, re.MULTILINE)
}


@pytest.mark.parametrize("event", _SENTENCES)
def test_a_sentence_is_for_an_event_that_there_is_and_its_fields(event: str) -> None:
    named = {name for _, name, _, _ in string.Formatter().parse(_SENTENCES[event]) if name}
    assert named <= FIELDS[event]


def test_what_has_no_sentence_or_lacks_a_field_stays_a_log_line() -> None:
    assert sentence({"event": "no_such_event"}) is None
    assert sentence({"event": "shortage"}) is None
    assert sentence({"event": "shortage", "units": 3}) == (
        "shortage: 3 units without free memory behind them"
    )
    told = {"event": "units_allocated", "namespace": "default", "pod": "a"}
    assert sentence(told | {"units": 1}) == "default/a has 1 unit"
    assert sentence(told | {"units": 11}) == "default/a has 11 units"
