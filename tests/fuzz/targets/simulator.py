"""What the simulator reads: scenarios, and the lines of the plugin's log."""

from teeplugin.config.given import Given
from teeplugin.config.settings import ConfigError
from teeplugin.simulator.amounts import Figures
from teeplugin.simulator.scenario_runner.reading import read_scenario
from teeplugin.simulator.scenario_runner.scenario import Expect, Scenario, Step
from teeplugin.simulator.timeline import Timeline, readable
from tests.fuzz.target import Target, check_line, in_memory

_FIGURES = Figures(all=128, free=100, allocated=20, unit_bytes=512 * 1024)


def scenario(data: bytes) -> None:
    """Steps that can be named, or one line that names the file."""
    with in_memory(data) as path:
        given = Given(path, "flag --scenario", "--scenario ", "--scenario ")
        try:
            read = read_scenario(given)
        except ConfigError as error:
            check_line(error, path)
            return
    assert read.steps
    assert read.total_bytes >= 0
    assert read.needs_units > 0
    line = 0
    for step in read.steps:
        assert step.title_now(_FIGURES)
        assert step.actions or step.expectations or step.afterwards
        assert 0 <= step.after_seconds <= step.after_seconds + step.holds_seconds <= 7200
        assert step.line >= line, step
        line = step.line


def plugin_log(data: bytes) -> None:
    """Lines of the plugin's log: every one becomes an entry, as it is where it isn't JSON."""
    timeline = Timeline()
    lines = data.decode("utf-8", "replace").split("\n")
    for line in lines:
        timeline.plugin(line)
        readable(line)
    assert len(timeline.entries) == min(len(lines), timeline.entries.maxlen or 0)
    assert all(isinstance(entry.text, str) for entry in timeline.entries)


_STEP = tuple(f"\n  {key}: " for key in (*Step.known_keys(), *Expect.known_keys()))

TARGETS = (
    Target(
        "scenario",
        scenario,
        words=(
            *(*_STEP, *(f"\n{key}: " for key in Scenario.known_keys())),
            *("\nsteps:\n- ", "step: ", "all - 10"),
            *(
                "start",
                "restart",
                "hang-up",
                "{one: 10}",
                "[one, two]",
                "5 units",
                "units: ",
                "uses: ",
            ),
        ),
    ),
    Target(
        "plugin-log",
        plugin_log,
        words=('{"event": "', '"level": "warning"', '"timestamp": ', "[[", "NaN", "\\ud800"),
    ),
)
