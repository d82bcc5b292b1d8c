"""`simulate --backend`: a backend of the user's on the simulated kubelet."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from teeplugin.cli import main as cli
from teeplugin.simulator.admission import Admission, ContainerGrant
from teeplugin.simulator.own_backend import ask
from teeplugin.simulator.scenario_runner.actions import _missing
from teeplugin.simulator.tee_control import NO_FAULT, ReadTee
from teeplugin.simulator.timeline import Timeline
from teeplugin_backends.base import ContainerAccess, Device, Mount, TeeMemory

SIMULATED = ("simulate", "--backend", "simulated")


def test_the_backend_is_asked_once_for_its_memory_reserve_and_access() -> None:
    own = ask("simulated", ["total=64MiB", "others=4MiB", "access=itrustee"])
    assert own.memory == TeeMemory(64 << 20, 60 << 20)
    assert own.reserve_bytes == 0
    assert own.access.devices[0].host_path == "/dev/teelog"
    assert own.flags[:4] == ("--backend", "simulated", "--backend-option", "total=64MiB")


def test_the_tour_is_played_but_for_what_plays_the_tee(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev").mkdir()
    words = (*SIMULATED, "--backend-option", "total=16MiB", "--host-root", str(tmp_path))
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "the backend simulated with 16 MiB in units of 512 KiB" in shown
    assert "32 of 32 healthy" in shown
    assert "8 of 10 steps ok, 2 skipped" in shown


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("simulate", "--host-root", "/"),
            "--host-root: needs your own backend: give --backend NAME too",
        ),
        (
            ("simulate", "--backend-option", "a=b"),
            "--backend-option: needs your own backend: give --backend NAME too",
        ),
        (
            (*SIMULATED, "--total", "1GiB"),
            "--total 1GiB: --backend simulated sets the memory: leave one of them",
        ),
        (
            ("simulate", "--backend", "simulatd"),
            "--backend simulatd: no such backend: did you mean",
        ),
        (
            (*SIMULATED, "--backend-option", "colour=red"),
            "--backend simulated: option colour=red: no such option",
        ),
        (
            (*SIMULATED, "--backend-option", "fault=unreachable"),
            "--backend simulated: gives no reading: unreachable: a simulated fault",
        ),
        (
            (*SIMULATED, "--backend-option", "fault=bug"),
            "--backend simulated: gives no reading: bad-reply: a bug in the backend: memory()",
        ),
        (
            (*SIMULATED, "--backend-option", "total=1MiB"),
            "--backend simulated 1MiB with --precision 512 makes 2 units, and the scenario tour",
        ),
        (
            (*SIMULATED, "--backend-option", "total=16MiB", "--reserve", "15.5MiB"),
            "--backend simulated 16MiB less a reserve of 15.5MiB with --precision 512 makes 1 uni",
        ),
        (
            (*SIMULATED, "--reserve", "much"),
            "--reserve much: not a size",
        ),
        (
            (*SIMULATED, "--resource-name", "acme"),
            "--resource-name acme: must have one / between a domain and a name",
        ),
    ],
)
def test_what_cannot_be_played_is_one_line(
    words: Sequence[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"tee-device-plugin: {line}")
    assert told.count("\n") == 1


def test_what_a_container_should_have_got_is_by_the_backends_access() -> None:
    access = ContainerAccess(
        (Mount("/a", "/b"),), (Device("/dev/x", "/dev/x", "r"),), {"ACME": "1"}
    )
    grant = ContainerGrant(frozenset({"0"}), {}, (), ())
    missing = _missing(Admission("pod", "default", {"main": grant}), 1, 512, access)
    for part in ("ACME=1", "TEE_RAM_UNITS=1", "mount /a", "device /dev/x"):
        assert part in missing


def test_memory_and_faults_are_followed_by_the_plugins_log() -> None:
    timeline, tee = Timeline(), ReadTee(TeeMemory(100, 60))
    reading = '{"event": "reading", "level": "debug", "total_bytes": %d, "free_bytes": %d}'
    for line, fault, uses in (
        ('{"event": "starting"}', NO_FAULT, None),
        (reading % (100, 60), NO_FAULT, {"used": 40, "free": 60}),
        (reading % (80, 60), NO_FAULT, {"used": 20, "free": 60}),
        ('{"event": "reading", "total_bytes": 0}', NO_FAULT, {"used": 20, "free": 60}),
        ('{"event": "tee_unhealthy", "cause": "unreachable"}', "unreachable", None),
        ('{"event": "registered"}', "unreachable", None),
        ('{"event": "tee_recovered"}', NO_FAULT, {"used": 20, "free": 60}),
        ('{"event": "tee_unhealthy", "cause": "missing-on-node"}', "missing-on-node", {"used": 20}),
    ):
        timeline.plugin(line)
        tee.follow(timeline.fault.kind if timeline.fault else None, timeline.reading)
        assert (tee.fault, tee.uses and tee.uses["used"]) == (fault, uses and uses["used"]), line
    assert tee.total_bytes == 80
    timeline.ended(1, "error")
    tee.follow(timeline.fault.kind if timeline.fault else None, timeline.reading)
    assert (tee.fault, tee.uses) == (NO_FAULT, None)


def test_what_is_logged_for_debugging_is_not_shown() -> None:
    timeline = Timeline()
    assert not timeline.plugin('{"event": "reading", "level": "debug"}')
    assert timeline.plugin('{"event": "registered", "level": "info"}')
    assert [entry.text for entry in timeline.entries] == ["registered"]
    assert timeline.events == ["registered"]


SHORT = ("--backend-option", "total=16MiB", "--backend-option", "others=4MiB")


def test_a_shortage_fails_a_step_with_its_reason_and_a_reserve_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "short.yaml"
    steps = "steps: [{kubelet: start, plugin: start, within: 2, expect: {healthy: all}}]\n"
    scenario.write_text(steps)
    words = (*SIMULATED, *SHORT, "--scenario", str(scenario), "--host-root", str(tmp_path))
    assert cli.main(words) == 1
    assert (
        ", 24 of 32 healthy; 8 units short: 4 MiB used beyond a reserve of 0 B: end what uses "
        "it, or give --reserve 4MiB"
    ) in capsys.readouterr().out
    assert cli.main((*words, "--reserve", "4MiB")) == 0
    assert "24 of 24 healthy" in capsys.readouterr().out
    scenario.write_text(f"reserve: 4MiB\nresource-name: intel.example/epc\n{steps}")
    assert cli.main(words) == 0
    assert "24 of 24 healthy" in capsys.readouterr().out


def test_the_resource_is_the_flags_then_the_scenarios(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "named.yaml"
    scenario.write_text(
        "resource-name: intel.example/epc\n"
        "steps: [{kubelet: start, plugin: start, expect: {registered: yes}}]\n"
    )
    assert cli.main(("simulate", "--scenario", str(scenario))) == 0
    assert "intel.example/epc registered" in capsys.readouterr().out
    flag = ("--resource-name", "amd.example/epc")
    assert cli.main(("simulate", "--scenario", str(scenario), *flag)) == 0
    assert "amd.example/epc registered" in capsys.readouterr().out
