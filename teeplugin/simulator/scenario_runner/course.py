"""The course of a scenario: what runs and which pods there are, followed before it is played."""

import re

from teeplugin.config.settings import nearest, shown
from teeplugin.simulator.scenario_runner.actions import PROBE, Verb

_POD = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Course:
    """What runs, all pods, and those of this step."""

    def __init__(self) -> None:
        self._running: set[str] = set()
        self._pods: dict[str, None] = {}
        self._new: set[str] = set()

    def begin_step(self) -> None:
        """Forget which pods are of this step."""
        self._new.clear()

    def follow(self, key: str, word: str) -> str:
        """Follow a word below a key of a step or of `expect`; give rule and fix if it can't be."""
        if key in ("kubelet", "plugin", "exit"):
            return self._process("plugin" if key == "exit" else key, word)
        if key == "admit":
            return self._admit(word)
        if key == "refused" and word not in self._new:
            return f"is not admitted in this step: write `admit: {{{word}: UNITS}}`"
        if key in ("remove", "use", "keeps", "restarts") and word not in self._pods:
            meant = nearest(word, self._pods)
            fix = f"did you mean {shown(meant)}?" if meant else "admit it in a step before"
            return f"no such pod: {fix}"
        if key in ("remove", "refused"):
            del self._pods[word]
            self._new.discard(word)
        return ""

    def _process(self, who: str, word: str) -> str:
        """Follow a verb, or the status that the plugin ends with."""
        if word == Verb.START and who in self._running:
            return f"the {who} runs already: write `{who}: restart`, or stop it"
        if word != Verb.START and who not in self._running:
            return f"the {who} doesn't run: write `{who}: start` before"
        goes_on = word in (Verb.START, Verb.RESTART, Verb.HANG_UP)
        self._running = self._running | {who} if goes_on else self._running - {who}
        return ""

    def _admit(self, pod: str) -> str:
        if not _POD.fullmatch(pod):
            return "not a pod's name: give at most 63 lower-case letters, digits and - within"
        if pod == PROBE:
            return "is the name of the pod that `fits` tries: give it another"
        if pod in self._pods:
            return "exists already: remove it first, or give it another name"
        self._pods[pod] = None
        self._new.add(pod)
        return ""
