"""docs/simulate.md and the scenarios that are shipped."""

import re
from pathlib import Path

from teeplugin.simulator.scenario_runner.actions import PLUGIN_VERBS
from teeplugin.simulator.scenario_runner.reading import read_scenario
from teeplugin.simulator.scenario_runner.scenario import (
    ACTIONS,
    EXPECTATIONS,
    SHIPPED,
    Expect,
    Scenario,
    Step,
    shipped_names,
)
from teeplugin.simulator.stage import NODE_PATHS
from teeplugin.simulator.tee_control import FAULTS, NO_FAULT

# The document
from tests.unit.simulator.scenario_files import named, written

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulate.md"


def told_keys(heading: str) -> set[str]:
    """What stands in the first cells of the table below a heading of the document."""
    section = (
        DOCUMENT.read_text(encoding="utf-8").partition(f"# {heading}\n")[2].partition("\n#")[0]
    )
    cells = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    return set(re.findall("`([^`]+)`", "".join(cells)))


def test_the_document_tells_every_key_and_no_others() -> None:
    assert told_keys("The head") == {*Scenario.known_keys()}
    assert told_keys("A step") == {*Step.known_keys()} > {*ACTIONS}
    assert told_keys("What may be expected") == {*Expect.known_keys()} == {*EXPECTATIONS, "fits"}


def test_the_document_tells_the_words_of_the_actions() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    words = (*PLUGIN_VERBS, *FAULTS, NO_FAULT, *NODE_PATHS)
    assert [word for word in words if f"`{word}`" not in text] == []


def test_the_document_tells_the_scenarios_in_their_own_words() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in shipped_names():
        assert f"| `{name}` | {read_scenario(named(name)).description} |" in text


def test_the_documents_example_is_a_scenario(here: Path) -> None:
    (example,) = re.findall("^```yaml\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert len(written(here, example).steps) == 5


# Those that are shipped


def test_those_shipped_are_found_by_their_names_and_tell_what_they_play() -> None:
    names = shipped_names()
    assert names[0] == "tour"
    assert len(names) >= 8
    for name in names:
        scenario = read_scenario(named(name))
        assert scenario.name == name
        assert 10 < len(scenario.description) <= 70
        assert len(scenario.steps) > 2


def test_those_shipped_use_every_key_that_a_step_may_have() -> None:
    text = "".join(path.read_text() for path in SHIPPED.glob("*.yaml"))
    assert [key for key in (*ACTIONS, *EXPECTATIONS, "fits") if f"{key}: " not in text] == []
