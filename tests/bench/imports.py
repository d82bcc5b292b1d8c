"""Where the time of importing the daemon goes, by package."""

import subprocess
import sys
import tempfile
from collections import Counter

from teeplugin.cli.main import EXIT_USAGE
from tests.bench.errors import BenchError

NO_BACKEND = "none"
"""A name that makes the daemon end once all is imported: backends are looked for right after."""

TOP, RUNS = 10, 5


def breakdown() -> str:
    """Tell which packages take the longest to import, in the fastest of some runs."""
    own, modules = min((_run() for _ in range(RUNS)), key=lambda run: run[0].total())
    rows = [
        f"  {package:24} {microseconds / 1000:7.1f} ms in {modules[package]:3} modules"
        for package, microseconds in own.most_common(TOP)
    ]
    total_ms = own.total() / 1000
    head = f"the daemon's imports alone: {total_ms:.0f} ms in {modules.total()} modules; of it"
    return "\n".join([head, *rows])


def _run() -> tuple[Counter[str], Counter[str]]:
    """Start the daemon once: microseconds by package, and modules by package."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "teeplugin", "--backend", NO_BACKEND],
        capture_output=True,
        text=True,
        check=False,
        cwd=tempfile.gettempdir(),
    )
    if done.returncode != EXIT_USAGE:
        raise BenchError(f"the daemon can't be imported: {done.stderr.strip().splitlines()[-1]}")
    own: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        words = line.removeprefix("import time:").split("|")
        if len(words) == 3 and words[0].strip().isdigit():
            package = words[2].strip().partition(".")[0]
            own[package] += int(words[0])
            modules[package] += 1
    return own, modules
