"""The order of the checks, and their run over the evidence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from teeplugin.commands.doctor import node_checks, plugin_checks, settings_checks, tee_checks
from teeplugin.commands.doctor.evidence import Evidence, NotSeenError, Phase
from teeplugin.commands.doctor.model import Line, Outcome, Report, failed
from teeplugin.logs.setup import error_text
from teeplugin_backends.base import Finding

TEE_SECTION = "TEE"
"""Where the backend's own findings stand, before the query."""


@dataclass(frozen=True, slots=True)
class Check:
    """One link: its part of the way, its stable name, what judges it, and from which phase on."""

    section: str
    name: str
    judge: Callable[[Evidence], Outcome]
    phase: Phase = Phase.TEE
    only_in_dra_mode: bool = False


BEFORE_THE_TEE = (
    Check("settings", "configuration", settings_checks.configuration, Phase.SETTINGS),
    Check("settings", "preload", settings_checks.preload, Phase.SETTINGS),
    Check("settings", "running-settings", settings_checks.running_settings, Phase.NODE),
    # After the TEE's answer, which may show bugs of the backend's.
    Check("settings", "backend", settings_checks.backend),
)
AFTER_THE_WAY = (
    Check(TEE_SECTION, "query", tee_checks.query),
    Check("units", "figures", tee_checks.figures),
    Check("units", "reserve", tee_checks.reserve),
    Check("units", "precision", tee_checks.precision),
    Check("units", "allocated-unit-size", tee_checks.allocated_unit_size),
    Check("node", "containers", node_checks.containers),
    Check("node", "cdi", node_checks.cdi),
    Check("node", "kubelet-directory", node_checks.kubelet_directory),
    Check("node", "kubelet-socket", node_checks.kubelet_socket),
    Check("node", "stale-sockets", node_checks.stale_sockets),
    Check("plugin", "plugin", plugin_checks.plugin),
    Check("plugin", "registration", plugin_checks.registration),
    Check("plugin", "slice", plugin_checks.published_slice, only_in_dra_mode=True),
    Check("plugin", "listed-units", plugin_checks.listed_units),
    Check("plugin", "pod-resources", plugin_checks.pod_resources),
    Check("plugin", "limits", plugin_checks.limits),
    Check("plugin", "telemetry", plugin_checks.telemetry),
    Check("plugin", "node-label", plugin_checks.node_label),
)
WITHOUT_SETTINGS = BEFORE_THE_TEE[:2]
"""What can be looked at where there are no settings to go by."""


class Examination:
    """Judges every link once, in order, as soon as its evidence is there."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._lines: list[Line] = []

    def reached(self, phase: Phase) -> list[Line]:
        """Judge what can be judged from this phase on; give the lines that are new."""
        new = list(_lines(self._evidence, phase))[len(self._lines) :]
        self._lines += new
        return new

    def finished(self) -> Report:
        """Judge the rest, and give the whole report."""
        self.reached(Phase.TEE)
        return Report(tuple(self._lines), settings_checks.settings_in_force(self._evidence))


def examine(evidence: Evidence) -> Report:
    """Judge every link."""
    return Examination(evidence).finished()


def _lines(evidence: Evidence, phase: Phase) -> Iterator[Line]:
    if evidence.loaded is None:
        for check in WITHOUT_SETTINGS:
            yield _line(check, evidence)
        return
    for check in BEFORE_THE_TEE:
        if check.phase > phase:
            return
        yield _line(check, evidence)
    for finding in evidence.answer.findings if evidence.answer else ():
        yield Line(TEE_SECTION, finding)
    for check in AFTER_THE_WAY:
        if evidence.in_dra_mode or not check.only_in_dra_mode:
            yield _line(check, evidence)


def _line(check: Check, evidence: Evidence) -> Line:
    return Line(check.section, Finding(check.name, *_judged(check, evidence)))


def _judged(check: Check, evidence: Evidence) -> Outcome:
    try:
        return check.judge(evidence)
    except NotSeenError as missing:
        if evidence.bug:
            return _own_bug(evidence.bug)
        text = f"{missing} timed out"
        return failed(text, "look for a mount that hangs, or for a backend that blocks its process")
    except Exception as error:  # noqa: BLE001 - the other links are told all the same
        return _own_bug(error_text(error))


def _own_bug(words: str) -> Outcome:
    return failed(f"doctor itself failed: {words}", "report it, with this line")
