"""Doctor's decision of what was seen: what fails, what warns, and fixes that mend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from teeplugin.commands.doctor import examine as order
from teeplugin.commands.doctor.evidence import (
    Answer,
    Evidence,
    PageSeen,
    PageState,
    RecordedAllocation,
    RecordsSeen,
    Trouble,
)
from teeplugin.commands.doctor.examine import Check, examine
from teeplugin.kubelet.directory_safety import Weakness
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.device_list import IdSet
from teeplugin_backends.base import BadReply, Busy, Finding, Result, TimedOut, Unreachable
from tests.doctoring import (
    DIRECTORY,
    MIB,
    OLD,
    OURS,
    UNIT,
    VAULT,
    answer,
    broken,
    directory,
    flag_in,
    judged,
    mended,
    page,
    sockets,
    warned,
)


def test_where_all_is_well_nothing_fails_or_warns() -> None:
    report = judged()
    results = {line.finding.result for line in report.lines}
    assert results == {Result.OK, Result.NOT_APPLICABLE}
    assert report.exit_status == 0
    assert report.summary.endswith(": all is well")
    assert [line.finding.check for line in report.lines if line.finding.fix] == ["node-label"]


# What fails

BROKEN: list[tuple[str, str, Mapping[str, Any], str, str]] = [
    ("an unreachable TEE", "query", {"answer": Answer(error=Unreachable("no device"))},
     "unreachable: no device", "daemon run"),
    ("a hung TEE", "query", {"answer": Answer(error=TimedOut("no answer within 10 s"))},
     "timed-out: no answer within 10 s", "calls stuck"),
    ("a backend's bug", "query", {"answer": Answer(error=BadReply("a bug", fix="report it"))},
     "bad-reply: a bug", "report it"),
    ("a backend that blocks", "query", {"answer": None}, "timed out", "blocks"),
    ("a path that is missing", "containers", {"missing_paths": ("/dev/tee0",)},
     "/dev/tee0, which containers need, are missing below /", "--host-root"),
    ("no directory", "kubelet-directory", {"directory": directory(is_missing=True)},
     "there is no directory /k/device-plugins", "--kubelet-dir"),
    ("a file for a directory", "kubelet-directory",
     {"directory": directory(problem="is no directory")}, "is no directory", "--kubelet-dir"),
    ("a dead mount", "kubelet-directory", {"directory": directory(is_dead_mount=True)},
     "was deleted and created again", "restart the plugin's pod"),
    ("a read-only mount", "kubelet-directory", {"directory": directory(is_writable=False)},
     "is not writable", "read-only"),
    ("a directory that others can change", "kubelet-directory",
     {"directory": directory(weakness=Weakness("/k is drwxrwxrwx: must be", "chmod go-w /k"))},
     "/k is drwxrwxrwx: must be", "chmod go-w /k"),
    ("no kubelet", "kubelet-socket", {"sockets": sockets(kubelet=SocketState.MISSING)},
     "there is no /k/device-plugins/kubelet.sock", "start the kubelet"),
    ("a dead kubelet", "kubelet-socket", {"sockets": sockets(kubelet=SocketState.REFUSES)},
     "no process listens", "start the kubelet"),
    ("a hung kubelet", "kubelet-socket", {"sockets": sockets(kubelet=SocketState.FULL)},
     "doesn't accept", "restart the kubelet"),
    ("a file for the kubelet's socket", "kubelet-socket",
     {"sockets": sockets(kubelet=SocketState.NO_SOCKET)}, "is not a socket",
     "rm /k/device-plugins/kubelet.sock"),
    ("a forbidden socket", "kubelet-socket",
     {"sockets": sockets(kubelet=SocketState.FORBIDDEN, refused_by="run it as root")},
     "can't be connected to", "as root"),
    ("a directory that SELinux refuses", "kubelet-directory",
     {"directory": directory(is_writable=False, refused_by="SELinux refuses it: look")},
     "is not writable", "SELinux refuses it: look"),
    ("no plugin", "plugin", {"sockets": sockets(plugins={}), "page": PageSeen(PageState.NOBODY)},
     "no plugin listens", "start it"),
    ("the original plugin", "plugin",
     {"sockets": sockets(plugins={}, original_state=SocketState.LISTENS)},
     "the original plugin listens", "remove its DaemonSet"),
    ("a plugin that isn't registered", "registration",
     {"page": page(registered=False, not_registered_reason="the kubelet refused the registration")},
     "isn't registered: the kubelet refused", "not_registered"),
    ("a plugin that the kubelet doesn't know", "registration",
     {"page": PageSeen(PageState.NOBODY), "records": RecordsSeen(listed=0)},
     "the kubelet has no healthy unit", "not_registered"),
    ("a fault that the plugin believes", "listed-units",
     {"page": page(allocatable=0, trouble=Trouble("refused", "no", "admit it", confirmed=True))},
     "0 of 128 units are healthy; refused: no; but the TEE answered doctor just now",
     "systemctl restart tee-device-plugin"),
    ("a plugin that was never answered", "plugin",
     {"sockets": sockets(plugins={}),
      "page": page(capacity=0, not_registered_reason="not answered yet")},
     "a plugin runs but doesn't listen: not answered yet", "failures above"),
    ("somebody else at the port", "telemetry", {"page": PageSeen(PageState.SOMEBODY_ELSE)},
     "is not a tee-device-plugin", "another --listen"),
    ("an address of another machine", "telemetry", {"page": PageSeen(PageState.NO_SUCH_ADDRESS)},
     "is not an address of this machine", ":PORT"),
    ("a plugin that hangs", "plugin",
     {"sockets": sockets(silent={OURS: "did not answer within 2 s"}),
      "page": PageSeen(PageState.SILENT, error="no answer within 3 s")},
     "process 77, the plugin, hangs: it listens at tee-ram-0123abcd.sock and did not answer within",
     "kill -9 77"),
    ("a kubelet that hangs", "pod-resources",
     {"records": RecordsSeen(error="didn't answer within 2 s", is_silent=True)},
     "the kubelet hangs or is overloaded", "systemctl status kubelet"),
    ("a reserve that leaves nothing of a smaller TEE", "listed-units",
     {"page": page(capacity=0, allocatable=0, settings_misfit="--reserve 64MiB: nothing is left")},
     "do not fit the TEE: --reserve 64MiB: nothing is left", "the plugin's settings"),
    ("a port that swallows", "telemetry",
     {"page": PageSeen(PageState.SILENT, error="no answer within 3 s")},
     "no answer within 3 s", "restart the process"),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[0])
def test_what_is_broken_fails_and_nothing_before_it(
    case: tuple[str, str, Mapping[str, Any], str, str],
) -> None:
    _, check, changes, words, fix = case
    report = judged(**changes)
    assert fix in broken(report, check, words)
    assert report.exit_status == 1
    assert report.summary.endswith(f"begin with {check}")


def test_what_the_settings_break_is_told_by_the_exit_status() -> None:
    refused = Evidence(settings_problem="p.yaml: 511: must be 512 or more: give 512")
    assert [line.finding.check for line in examine(refused).lines] == ["configuration", "preload"]
    for check, report in {
        "configuration": examine(refused),
        "backend": judged(backend_found=False, backend_problem="--backend x: no such", answer=None),
        "reserve": judged(("reserve", "64MiB")),
        "precision": judged(("precision", str(128 * 1024))),
    }.items():
        broken(report, check, "")
        assert report.exit_status == 2


def test_a_socket_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    long = tmp_path / ("d" * 90)
    long.mkdir()
    report = judged(("kubelet-dir", str(long)), socket_path_fits=False)
    assert "shorter --kubelet-dir" in broken(report, "configuration", "over 107 bytes")


def test_without_a_backend_the_query_isnt_said_to_have_failed() -> None:
    report = judged(backend_found=False, backend_problem="--backend x: no such", answer=None)
    assert report.failures == ("backend",)
    assert report.of("query").result is Result.NOT_APPLICABLE


def test_the_fix_for_too_many_units_mends_it() -> None:
    tee = answer(total=128 * 1024**3, free=128 * 1024**3)
    fix = broken(judged(answer=tee), "precision", "the kubelet takes at most 226600")
    _, finest = flag_in(fix, "-precision")
    fix = warned(judged(("precision", finest), answer=tee), "precision", "costs the kubelet")
    _, comfortable = flag_in(fix, "-precision")
    mended(judged(("precision", comfortable), answer=tee), "precision")


def test_the_fix_for_too_large_a_unit_mends_it() -> None:
    flags = (("precision", str(128 * 1024)), ("reserve", "60MiB"))
    fix = broken(judged(*flags), "precision", "one unit of 128 MiB is more than the capacity")
    _, smaller = flag_in(fix, "-precision")
    mended(judged(("precision", smaller), flags[1]), "precision")
    report = judged(("reserve", str(64 * MIB - 1000)))
    assert "a --reserve that leaves 512 KiB" in broken(
        report, "precision", "more than the capacity"
    )


def test_the_fix_for_too_small_a_reserve_mends_it() -> None:
    tee = answer(free=40 * MIB)  # 13 units are allocated, which are 6.5 MiB
    fix = warned(judged(answer=tee), "reserve", "use is at least 17.5 MiB")
    assert "outside Kubernetes" in fix
    _, enough = flag_in(fix, "--reserve")
    mended(judged(("reserve", enough), answer=tee), "reserve")


def test_the_reserve_isnt_judged_where_nobody_knows_who_holds_what() -> None:
    unknown = {
        "records": RecordsSeen(error="isn't there", fix="mount it"),
        "page": PageSeen(PageState.NOBODY),
    }
    report = judged(answer=answer(free=40 * MIB), **unknown)
    assert report.of("reserve").result is Result.NOT_APPLICABLE
    mended(judged(("reserve", "30MiB"), answer=answer(free=40 * MIB), **unknown), "reserve")
    # The plugin knows as well.
    unknown["page"] = page(allocated=13)
    warned(judged(answer=answer(free=40 * MIB), **unknown), "reserve", "at least 17.5 MiB")


# What warns

OTHERS = RecordedAllocation("ca", VAULT, MIB)
ENDED = RecordedAllocation("ca", IdSet.of(range(20, 60)), 2 * MIB)

WARNING: list[tuple[str, str, Mapping[str, Any], str, str]] = [
    ("LD_PRELOAD", "preload", {"preloaded": "/x.so"}, "LD_PRELOAD=/x.so", "without LD_PRELOAD"),
    ("a bug beside the reading", "backend", {"answer": answer(bugs=("checks() raised KeyError",))},
     "checks() raised KeyError", "author"),
    ("a busy TEE", "query", {"answer": Answer(error=Busy("no session"))}, "busy: no session",
     "retries"),
    ("a slow TEE", "query", {"answer": answer(seconds=3.21)}, "after 3.2 s", "calls stuck"),
    ("an exhausted TEE", "figures", {"answer": answer(free=0)}, "0 B free", "free secure memory"),
    ("units of another size", "allocated-unit-size", {"recorded": (OTHERS, ENDED)},
     "10 units of 1 MiB, which now count as 512 KiB", "create these pods again"),
    ("a killed plugin's socket", "stale-sockets",
     {"sockets": sockets(plugins={OURS: SocketState.LISTENS, OLD: SocketState.REFUSES})},
     f"no process listens at {OLD}", f"rm {OLD}"),
    ("a killed original's socket", "stale-sockets",
     {"sockets": sockets(original=DIRECTORY / "tee-ram.sock", original_state=SocketState.REFUSES)},
     "no process listens at /k/device-plugins/tee-ram.sock", "rm /k/device-plugins/tee-ram.sock"),
    ("two plugins", "plugin",
     {"sockets": sockets(plugins=dict.fromkeys((OURS, OLD), SocketState.LISTENS))},
     f"2 plugins listen: {OURS.name}, {OLD.name}", "during a rollout"),
    ("the original beside ours", "plugin", {"sockets": sockets(original_state=SocketState.FULL)},
     "the original plugin listens", "remove its DaemonSet"),
    ("a shortage", "listed-units", {"page": page(allocatable=100, unhealthy_cause="shortage")},
     "100 of 128 units are healthy; the cause is shortage", "reserve"),
    ("a suspected fault", "listed-units",
     {"page": page(trouble=Trouble("busy", "no session", "wait", confirmed=False))},
     "busy: no session", "wait"),
    ("an old kubelet", "pod-resources",
     {"records": RecordsSeen(error="refuses List", fix="take Kubernetes 1.20")},
     "refuses List: no shortage is shown", "Kubernetes 1.20"),
    ("no records", "pod-resources",
     {"records": RecordsSeen(error="isn't there", fix="mount pod-resources")}, "isn't there",
     "mount pod-resources"),
    ("a precision that waits", "running-settings",
     {"page": page(settings_waiting={"precision": "1024"})},
     "new settings need a restart of the plugin: precision 1024", "restart the plugin"),
    ("a plugin elsewhere", "telemetry", {"page": PageSeen(PageState.NOBODY)},
     "no server answers at 127.0.0.1:9840", "the plugin's --listen"),
    ("settings that were kept", "running-settings", {"page": page(settings_problem="-p 1: bad")},
     "kept the old settings: -p 1: bad", "SIGHUP"),
    ("another resource", "running-settings", {"page": page(resource="x.y/z", unit_bytes=MIB)},
     "has another resource-name, precision", "flags, variables and file"),
]  # fmt: skip


@pytest.mark.parametrize("case", WARNING, ids=lambda case: case[0])
def test_what_is_not_as_it_should_be_is_a_warning_and_fails_nothing(
    case: tuple[str, str, Mapping[str, Any], str, str],
) -> None:
    _, check, changes, words, fix = case
    report = judged(**changes)
    assert fix in warned(report, check, words)
    assert report.failures == ()
    assert report.exit_status == 0
    assert report.summary.endswith(": nothing failed")


def test_a_kubelet_that_is_down_is_named_where_it_does_not_answer() -> None:
    for state in (SocketState.MISSING, SocketState.REFUSES):
        down = {
            "sockets": sockets(kubelet=state),
            "records": RecordsSeen(error="doesn't answer (Connection refused)"),
        }
        report = judged(**down)
        assert "start the kubelet" in broken(report, "kubelet-socket", "/k/device-plugins/kubelet")
        fix = warned(report, "pod-resources", "the kubelet is down, so ")
        assert fix == "start the kubelet: see kubelet-socket"


def test_ended_pods_hold_nothing() -> None:
    twin = RecordedAllocation("ca", VAULT, UNIT)
    for recorded, units in (
        ((ENDED,), 0),
        ((RecordedAllocation("ca", VAULT, UNIT), ENDED), 10),
        # A pod that ended had the very ids of one that runs.
        ((OTHERS, twin), 10),
        ((RecordedAllocation("another", VAULT, UNIT),), 0),
    ):
        text = judged(recorded=recorded).of("allocated-unit-size").text
        expected = f"pods hold {units} units of this size"
        assert text == (expected if units else "no pod holds units")
    # Where the kubelet doesn't tell who holds units, all may.
    unread = RecordsSeen(error="isn't there", fix="mount pod-resources")
    warned(judged(recorded=(ENDED,), records=unread), "allocated-unit-size", "40 units of 2 MiB")


def test_a_check_that_fails_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def bad(_: Evidence) -> Any:
        raise KeyError("no such thing")

    checks = (Check("units", "figures", bad), *order.AFTER_THE_WAY[-1:])
    monkeypatch.setattr(order, "AFTER_THE_WAY", checks)
    report = judged()
    assert "report it" in broken(report, "figures", "doctor itself failed: KeyError: 'no such")
    assert report.lines[-1].finding.check == "node-label"


@pytest.mark.parametrize("part", ["directory", "sockets", "records", "page", "recorded"])
def test_what_was_not_come_to_fails_and_says_so(part: str) -> None:
    report = judged(**{part: None})
    assert report.failures
    assert all("timed out" in report.of(check).text for check in report.failures)


def test_a_warning_or_failure_without_a_fix_is_refused() -> None:
    with pytest.raises(ValueError, match="check=library is failed: must have a fix"):
        Finding("library", Result.FAILED, "there is none")
