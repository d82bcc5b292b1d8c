"""One target under atheris, in a process of its own: started by __main__ only.

A finding doesn't end the run, so that one bug doesn't hide the next: the shortest input for each
kind of failure, told by its exception and where it came from, is kept with its traceback.
"""

import hashlib
import importlib
import resource
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.target import MAX_GROWTH_BYTES, Target, run_limited

_INSTRUMENTED = (
    *("teeplugin", "teeplugin_backends", "tests.fuzz.targets"),
    *("betterproto2", "defusedxml", "grpclib", "h11", "h2", "hpack", "hyperframe", "yaml"),
)
_OURS = ("teeplugin", "teeplugin_backends", "targets")


class Findings:
    """What went wrong, each kind once, in `directory`."""

    def __init__(self, directory: Path, target: Target) -> None:
        self._directory = directory
        self._target = target
        self._shortest: dict[str, int] = {}

    def check(self, data: bytes) -> None:
        """Run the target on one input, and keep it if that is a finding."""
        try:
            run_limited(self._target, data)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._keep(data, error)

    def _keep(self, data: bytes, error: BaseException) -> None:
        kind = f"{type(error).__name__} at {_place(error)}"
        if len(data) >= self._shortest.get(kind, sys.maxsize):
            return
        is_new = kind not in self._shortest
        self._shortest[kind] = len(data)
        digest = hashlib.sha256(kind.encode()).hexdigest()[:8]
        path = self._directory / f"{self._target.name}-{digest}"
        path.write_bytes(data)
        told = "".join(traceback.format_exception(error))
        path.with_suffix(".txt").write_text(f"{kind}\n{told}", encoding="utf-8", errors="replace")
        if is_new:
            print(f"finding: {self._target.name}: {kind}: {path}", flush=True)


def _place(error: BaseException) -> str:
    """Where it came from: the innermost line of ours, which may be an oracle's."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [each for each in frames if {*Path(each.filename).parts} & {*_OURS}] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"


def main(arguments: Sequence[str]) -> None:
    """Fuzz the target of this name; findings into this directory, the rest is libFuzzer's."""
    name, directory, *options = arguments
    # By its name: it ships no types, and only this process needs it.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        targets = importlib.import_module("tests.fuzz.targets")
    target: Target = targets.TARGETS[name]
    findings = Findings(Path(directory), target)
    for path in sorted(target.corpus.iterdir()):
        findings.check(path.read_bytes())
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    most_mib = peak_mib + MAX_GROWTH_BYTES // 1024**2
    # libFuzzer's own time-out is for what holds even our signal back.
    options += [f"-rss_limit_mb={most_mib}", "-timeout=30", f"-artifact_prefix={directory}/"]
    atheris.Setup([sys.argv[0], *options], findings.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
