"""What doctor prints, as text and as JSON, and that its document tells all of it."""

import json
import re
from pathlib import Path

import pytest

from teeplugin.commands.doctor import examine as order
from teeplugin.commands.doctor.evidence import (
    Answer,
    DirectorySeen,
    RecordedAllocation,
    RecordsSeen,
)
from teeplugin.commands.doctor.model import Line, Report
from teeplugin.commands.doctor.report import as_json, as_text
from teeplugin.kubelet.registration_status import no_directory
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.policy.device_list import IdSet
from teeplugin.primitives.document import SCHEMA_VERSION
from teeplugin_backends.base import Finding, Result
from teeplugin_backends.libteec import abi
from teeplugin_backends.libteec.checks import CHECKS as LIBTEEC_CHECKS
from teeplugin_backends.libteec.checks import Way
from teeplugin_backends.libteec.client import ITRUSTEE
from teeplugin_backends.libteec.options import Options
from teeplugin_backends.libteec.results import error_of
from tests.doctoring import answer, directory, judged, page, sockets

DOCUMENT = Path(__file__).parents[3] / "docs" / "doctor.md"


def test_text_fits_100_columns_is_aligned_and_ends_with_the_summary() -> None:
    report = judged(missing_paths=("/dev/tee0",), preloaded="/x.so")
    text = as_text(report, coloured=False, width=200)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in text
    assert re.match(r"\d+ checks: \d+ ok, 1 warning, 1 failed, \d+ not applicable: ", lines[-1])
    headings = [line for line in lines[:-2] if not line.startswith(" ")]
    assert headings == ["settings", "TEE", "units", "node", "plugin"]
    found = {
        (match.start(1), match.start(2))
        for line in lines
        if (match := re.match(r"  [a-z-]+ +(ok|warning|failed) *(\S)", line))
    }
    assert found == {(23, 31)}


def test_a_path_or_command_is_never_cut_even_where_it_is_too_long() -> None:
    path = f"/{'long-' * 30}name"
    line = Line("node", Finding.failed("kubelet-directory", f"there is no {path}", f"mkdir {path}"))
    text = as_text(Report((line,)), coloured=False, width=80)
    assert text.count(path) == 2


@pytest.mark.parametrize("width", [50, 80, 100, 200])
def test_every_line_fits_and_a_command_stands_on_its_own(width: int) -> None:
    report = judged(sockets=sockets(kubelet=SocketState.MISSING))
    lines = as_text(report, coloured=False, width=width).splitlines()
    assert max(map(len, lines)) <= min(width, 100)
    own = [line.strip() for line in lines]
    assert "kubectl label nodes NODE teetype=trustzone" in own
    assert "systemctl status kubelet" in own


def test_a_command_that_is_too_long_is_continued() -> None:
    command = f"rm /{'a' * 50} /{'b' * 50}"
    line = Line("node", Finding.failed("kubelet-directory", "it's there", f"remove it:\n{command}"))
    text = as_text(Report((line,)), coloured=False, width=80)
    assert f"    rm /{'a' * 50} \\\n      /{'b' * 50}\n" in text
    # On a terminal that has room it is whole, though text is wrapped at 100 columns.
    assert f" {command}\n" in as_text(Report((line,)), coloured=False, width=110)


def test_without_a_width_each_check_fix_and_command_is_one_line() -> None:
    words = "a rather long text " * 20
    line = Line("node", Finding.failed("kubelet-directory", words, f"{words}\n{words}"))
    text = as_text(Report((line,)), coloured=False, again="tee-device-plugin doctor")
    # A heading, the check, its fix, the command; an empty line, the summary, and what is next.
    assert len(text.splitlines()) == 4 + 2 + 2


def test_what_others_wrote_cant_break_the_lines() -> None:
    line = Line("TEE", Finding.failed("query", "a\nb\x1b[31m", "c\td"))
    text = as_text(Report((line,)), coloured=False)
    assert "a\\nb\\x1b[31m" in text
    assert len(text.splitlines()) == 5


def test_colours_are_the_results_own() -> None:
    text = as_text(judged(preloaded="/x.so", missing_paths=("/dev/tee0",)), coloured=True)
    assert "\x1b[33mwarning" in text
    assert "\x1b[31mfailed " in text
    assert "\x1b[32mok " in text
    assert "\x1b[2m  skipped: " in text
    assert text.count("\x1b[0m") == text.count("\x1b[") / 2


def test_the_json_form_is_stable() -> None:
    """A change here is one of SCHEMA_VERSION and of docs/schemas as well."""
    told = json.loads(as_json(judged(preloaded="/x.so")))
    assert SCHEMA_VERSION == 1
    assert list(told) == [
        *(
            "kind",
            "version",
            "plugin_version",
            "exit_status",
            "summary",
            "next_command",
            "counts",
            "settings",
            "checks",
        )
    ]
    assert list(told["counts"]) == ["ok", "warning", "failed", "not applicable"]
    assert sum(told["counts"].values()) == len(told["checks"])
    assert told["settings"]["precision"] == {"value": "512", "origin": "default"}
    assert {tuple(check) for check in told["checks"]} == {
        ("section", "check", "result", "finding", "fix")
    }
    by_name = {check["check"]: check for check in told["checks"]}
    assert len(by_name) == len(told["checks"])
    assert by_name["preload"]["result"] == "warning"
    assert by_name["preload"]["section"] == "settings"
    assert by_name["configuration"]["fix"] is None


# The document


TOLD = {"vendor": ITRUSTEE, "library": "/usr/lib64/libteec.so"} | {
    "step": "TEEC_OpenSession",
    "failed": "TEEC_OpenSession",
    "result": str(abi.ERROR_TRUSTED_APP_LOAD_ERROR),
    "origin": str(abi.ORIGIN_TEE),
}
"""What a helper tells where the trusted application's file is missing."""


def documents_example() -> Report:
    """A node whose trusted application was never copied, and on which all else is well."""
    there = {
        "driver": "/host/dev/tc_ns_client is there",
        "confidential-os": "/host/dev/tc_ns_cvm is there",
        "user": "uid 0 is root in /etc/passwd",
        # What this machine's own kernel log says is not in the page.
        "long-calls": "no process was in the TEE for over 10 s in the last hour",
    }
    way = Way(Options(), TOLD, Path("/host")).findings()
    silent = "the TEE has not answered yet, so there is nothing to register"
    return judged(
        answer=Answer(
            error=error_of(ITRUSTEE, "TEEC_OpenSession", abi.ERROR_TRUSTED_APP_LOAD_ERROR, 3),
            findings=[
                Finding.ok(each.check, there[each.check]) if each.check in there else each
                for each in way
            ],
        ),
        recorded=(),
        directory=directory(path=Path("/var/lib/kubelet/device-plugins")),
        sockets=sockets(plugins={}, pids=()),
        records=RecordsSeen(listed=0),
        page=page(
            capacity=0, allocatable=0, allocated=0, registered=False, not_registered_reason=silent
        ),
    )


def test_the_documents_example_is_what_is_printed() -> None:
    again = "tee-device-plugin doctor"
    text = as_text(documents_example(), coloured=False, width=100, again=again)
    assert f"```text\n{text}```\n" in DOCUMENT.read_text("utf-8")


def documented() -> set[str]:
    return set(re.findall(r"^\| `([a-z_-]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE))


def test_the_document_has_a_row_for_every_check_and_no_other() -> None:
    own = {check.name for check in (*order.BEFORE_THE_TEE, *order.AFTER_THE_WAY)}
    keys = set(json.loads(as_json(judged())))
    checks = documented() - keys
    assert checks == own | set(LIBTEEC_CHECKS) | {"state-file"}


def test_the_document_has_a_row_for_every_key_of_the_json() -> None:
    told = json.loads(as_json(judged()))
    assert set(told) <= documented() | {"plugin_version", "exit_status"}
    text = DOCUMENT.read_text("utf-8")
    for key in (*told, *told["checks"][0], *told["settings"]["precision"]):
        assert f"`{key}`" in text


# What to type next, and what is said once


def page_of(*findings: Finding) -> list[str]:
    lines = tuple(Line("TEE", each) for each in findings)
    return as_text(Report(lines), coloured=False, again="tee-device-plugin doctor").splitlines()


def test_checks_that_do_not_apply_are_told_together_with_each_reason_once() -> None:
    assert page_of(
        Finding.not_applicable("loading", "see library"),
        Finding.ok("driver", "it is there"),
        Finding.not_applicable("flavour", "see library"),
        Finding.not_applicable("label", "not seen", "look with kubectl"),
        Finding.not_applicable("user", "nobody"),
    )[1:5] == [
        "  driver               ok      it is there",
        "  label                not applicable not seen",
        "                               fix: look with kubectl",
        "  skipped: loading, flavour (see library); user (nobody)",
    ]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("no libteec.so", "fix: that of library"),
        ("unreachable: no libteec.so", "fix: that of library"),
        ("bad-reply: another thing", "fix: mount it"),
    ],
)
def test_a_fix_is_said_once_for_one_cause_and_again_for_another(text: str, fix: str) -> None:
    lines = page_of(
        Finding.failed("library", "no libteec.so", "mount it"),
        Finding.failed("query", text, "mount it"),
    )
    assert [line.strip() for line in lines if line.strip().startswith("fix:")] == [
        "fix: mount it",
        fix,
    ]


@pytest.mark.parametrize("backend", ["libteec", "simulated", "sgx"])
def test_the_label_of_trustzone_is_for_its_own_nodes_only(backend: str) -> None:
    fix = judged(("backend", backend)).of("node-label").fix
    assert ("teetype=trustzone" in fix) == (backend != "sgx")
    assert ("kubectl label nodes NODE LABEL=VALUE" in fix) == (backend == "sgx")


def test_ld_preload_is_a_matter_of_our_own_backends() -> None:
    foreign = judged(("backend", "sgx"), preloaded="/x.so").of("preload")
    assert foreign.result is Result.NOT_APPLICABLE
    assert judged(preloaded="/x.so").of("preload").result is Result.WARNING


def test_what_containers_lack_has_the_backends_own_fix() -> None:
    lacking = answer(missing_fix="modprobe sgx")
    report = judged(missing_paths=("/dev/sgx_enclave",), answer=lacking)
    assert report.of("containers").fix.startswith("modprobe sgx, or check --host-root")
    neutral = judged(missing_paths=("/dev/sgx_enclave",)).of("containers").fix
    assert "OP-TEE" not in neutral


def test_one_unit_is_one() -> None:
    one = RecordedAllocation("ca", IdSet.first(1), 512 * 1024)
    report = judged(recorded=(one,), records=None)
    assert report.of("allocated-unit-size").text == "pods hold 1 unit of this size"


@pytest.mark.parametrize(
    ("findings", "last"),
    [
        (
            [Finding.failed("query", "it", "start it:\nsystemctl start teecd")],
            ["next:", "    systemctl start teecd"],
        ),
        (
            [Finding.failed("query", "it", "do it")],
            ["next, after the fix:", "    tee-device-plugin doctor"],
        ),
        (
            [Finding.failed("stale", "it", "remove it:\nrm /a")],
            ["next, after the fix:", "    tee-device-plugin doctor"],
        ),
        (
            [Finding.warning("preload", "it", "do it")],
            ["", "1 checks: 1 warning: nothing failed"],
        ),
        (
            [Finding.failed("label", "it", "label it:\nkubectl label nodes NODE a=b")],
            ["next, after the fix:", "    tee-device-plugin doctor"],
        ),
        (
            [
                Finding.warning("first", "it", "do it:\nfirst"),
                Finding.failed("second", "it", "do it:\nsecond"),
            ],
            ["next:", "    second"],
        ),
    ],
)
def test_the_command_to_type_next_is_that_of_the_first_failure(
    findings: list[Finding], last: list[str]
) -> None:
    assert page_of(*findings)[-2:] == last


def test_where_all_is_well_there_is_nothing_to_type() -> None:
    assert page_of(Finding.ok("query", "it"))[-1] == "1 checks: 1 ok: all is well"


def test_doctor_and_the_daemons_log_say_that_the_directory_is_missing_in_the_same_words() -> None:
    directory = Path("/nowhere/device-plugins")
    finding = judged(directory=DirectorySeen(directory, is_missing=True)).of("kubelet-directory")
    assert finding.text == no_directory(directory)
