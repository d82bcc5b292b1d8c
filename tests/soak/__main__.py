"""Have thousands of things happen to the plugin; exit 1 if it isn't as large as before."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean
from time import monotonic

from teeplugin.simulator import SimulatedKubelet
from tests.soak.events import Node
from tests.soak.plugins import HEAD, KINDS, Sample

SAMPLES = 40
MAX_GROWTH_MB = 2.0
MAX_GROWTH = 1.02


async def soak(kind: str, events: int, seed: int) -> list[str]:
    """Print the samples as they are taken; what isn't flat, or went wrong."""
    directory = Path(tempfile.mkdtemp(prefix=f"soak-{kind}-"))
    kubelet_dir = Path(tempfile.mkdtemp(prefix="tee-"))
    samples: list[Sample] = []
    print(f"{kind}, {events} events, seed {seed}\n{HEAD}", flush=True)
    try:
        async with SimulatedKubelet(kubelet_dir) as kubelet:
            watched, tee = KINDS[kind](directory, kubelet)
            with watched.plugin as plugin:
                node = Node(watched, kubelet, tee, Random(seed))  # noqa: S311 - to be repeatable
                await node.started()
                began = monotonic()
                for done in range(1, events + 1):
                    await node.happens()
                    if done % (events // SAMPLES) == 0:
                        samples.append(await watched.at_rest(done, monotonic() - began))
                        print(samples[-1].row(), flush=True)
                print(f"what happened: {dict(node.done.most_common())}")
                problems = _problems(plugin.log.read_text())
                status = plugin.stop()
        if status:
            problems.append(f"exit status {status}")
        return [*problems, *not_flat(samples)]
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(kubelet_dir, ignore_errors=True)


def _problems(log: str) -> list[str]:
    names = ("Traceback", "plugin_bug", "telemetry_bug", "backend_bug", "unraisable_error")
    return [f"{log.count(name)} × {name} in the log" for name in names if name in log]


def not_flat(samples: Sequence[Sample]) -> list[str]:
    """Compare the last fifth of the time with the second: the first warms up."""
    fifth = len(samples) // 5
    second, last = samples[fifth : 2 * fifth], samples[-fifth:]
    before = mean(sample.usage.rss_mb for sample in second)
    after = mean(sample.usage.rss_mb for sample in last)
    print(f"RSS {before:.1f} MB in the second fifth, {after:.1f} MB in the last")
    found = []
    if after > max(before * MAX_GROWTH, before + MAX_GROWTH_MB):
        found.append(f"RSS grew by {after - before:.1f} MB")
    for name, value in (
        ("descriptors", lambda sample: sample.usage.descriptors),
        ("threads", lambda sample: sample.usage.threads),
        ("tasks", lambda sample: sample.tasks),
        ("children", lambda sample: sample.usage.children),
    ):
        # One more may be just at work, at any sample; what is never given back is in all of them.
        first, then = min(map(value, second)), min(map(value, last))
        if then > first:
            found.append(f"{first:g} {name} in the second fifth, {then:g} in the last")
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--events", type=int, default=3_000, help="how many (3000)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--kind", choices=[*KINDS, "both"], default="both", help="the backend")
    options = parser.parse_args(arguments)
    broken: list[str] = []
    for kind in KINDS if options.kind == "both" else (options.kind,):
        found = asyncio.run(soak(kind, max(options.events, SAMPLES), options.seed))
        broken += [f"{kind}: {line}" for line in found]
    for line in broken:
        print(f"BROKEN: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
