"""What is there at each step, followed while a scenario is read: so that mistakes have a line.

A pod that was never admitted, or a kubelet that runs already, is told before anything is played.
"""

import re

from teeplugin.config.given import Given
from teeplugin.config.settings import nearest, shown
from teeplugin.simulator.playing.actions import PROBE, Verb

_POD = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Course:
    """What runs, and which pods there are, after all that was read so far."""

    def __init__(self) -> None:
        self._running = {"kubelet": False, "plugin": False}
        self._pods: dict[str, None] = {}
        self._new: set[str] = set()

    def step(self) -> None:
        """Begin a step."""
        self._new.clear()

    def verb(self, who: str, verb: Verb, given: Given) -> None:
        """Take note of what is done to kubelet or plugin.

        Raises:
            ConfigError: it can't be started or ended as it is.
        """
        runs = self._running[who]
        if verb is Verb.START and runs:
            raise given.refused(f"the {who} runs already", f"write `{who}: restart`, or stop it")
        if verb is not Verb.START and not runs:
            raise given.refused(f"the {who} doesn't run", f"write `{who}: start` before")
        self._running[who] = verb not in (Verb.STOP, Verb.KILL)

    def plugin_ends(self, given: Given) -> None:
        """Take note that the plugin ends by itself.

        Raises:
            ConfigError: it doesn't run.
        """
        if not self._running["plugin"]:
            raise given.refused("the plugin doesn't run", "write `plugin: start` before")
        self._running["plugin"] = False

    def admitted(self, given: Given) -> str:
        """Take note of a pod.

        Raises:
            ConfigError: it can't have this name, or is there already.
        """
        pod = given.text or ""
        if not _POD.fullmatch(pod):
            raise given.refused(
                "not a pod's name", "give at most 63 lower-case letters, digits and - within"
            )
        if pod == PROBE:
            raise given.refused("is the name of the pod that `fits` tries", "give it another")
        if pod in self._pods:
            raise given.refused("is there already", "remove it first, or give it another name")
        self._pods[pod] = None
        self._new.add(pod)
        return pod

    def refused(self, given: Given) -> str:
        """Take note that a pod of this step is refused.

        Raises:
            ConfigError: this step doesn't admit it.
        """
        pod = given.text or ""
        if pod not in self._new:
            raise given.refused("is not admitted in this step", f"write `admit: {{{pod}: UNITS}}`")
        self._new.discard(pod)
        self._pods.pop(pod)
        return pod

    def removed(self, given: Given) -> str:
        """Take note that a pod goes.

        Raises:
            ConfigError: it isn't there.
        """
        pod = self.there(given)
        del self._pods[pod]
        return pod

    def there(self, given: Given) -> str:
        """Take the name of a pod that is there.

        Raises:
            ConfigError: it isn't.
        """
        pod = given.text or ""
        if pod not in self._pods:
            meant = nearest(pod, self._pods)
            cure = f"did you mean {shown(meant)}?" if meant else "admit it in a step before"
            raise given.refused("no such pod is there", cure)
        return pod
