"""What doctor makes of what the running plugin says of itself."""

from dataclasses import replace

from teeplugin.commands.doctor.evidence import (
    PageSeen,
    PageState,
    RecordsSeen,
    RunningProcess,
    Trouble,
)
from teeplugin.config.sources import FlagValue, load
from teeplugin_backends.base import Result
from tests.doctoring import judged, mended, page, warned


def test_the_plugin_that_runs_is_compared_setting_by_setting() -> None:
    theirs = load([FlagValue("precision", "-precision", "1024")], {}).settings
    process = RunningProcess(77, ("-precision", "1024", "--config", "a b.yaml"), theirs)
    fix = warned(judged(process=process), "running-settings", "process 77, the plugin, was")
    assert "another precision" in judged(process=process).of("running-settings").text
    assert fix.endswith("tee-device-plugin doctor -precision 1024 --config 'a b.yaml'")
    mended(judged(("precision", "1024"), process=process), "running-settings")
    unread = replace(process, settings=None)
    assert "reports the same" in judged(process=unread).of("running-settings").text


def test_units_are_counted_as_the_running_plugin_counts_them() -> None:
    flags = ("precision", "1024")
    waits = page(settings_waiting={"precision": "1024"})
    report = judged(flags, page=waits)
    mended(report, "allocated-unit-size")
    assert "128 units of 512 KiB" in report.of("figures").text
    # What a restart would make of it.
    assert report.of("precision").text.startswith("64 units of 1 MiB")
    warned(report, "running-settings", "restart of the plugin: precision 1024")
    report = judged(flags, page=PageSeen(PageState.NOBODY))
    warned(report, "allocated-unit-size", "13 units of 512 KiB, which now count as 1 MiB")


def test_units_of_another_resource_arent_taken_for_ours() -> None:
    report = judged(page=page(resource="x.y/z", allocatable=0), records=RecordsSeen(listed=None))
    assert report.of("listed-units").result is Result.NOT_APPLICABLE
    assert report.of("registration").result is Result.NOT_APPLICABLE


def test_a_fault_that_doctor_sees_as_well_has_the_faults_own_fix() -> None:
    trouble = Trouble("refused", "no", "admit it", confirmed=True)
    report = judged(page=page(allocatable=0, trouble=trouble), answer=None)
    found = report.of("listed-units")
    assert (found.text, found.fix) == ("0 of 128 units are healthy; refused: no", "admit it")
