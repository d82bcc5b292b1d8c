"""Measure how the plugin serves its kubelet among hostile clients; exit 1 if a bound is broken."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Self

from tests.hostile.crowd import Crowd
from tests.hostile.fuzz import fuzz
from tests.hostile.node import Node, Served, node, percentile
from tests.waiting import eventually

MOST_P99_MS = 20.0
MOST_RSS_MB = 200.0
MOST_FLIP_MS = 1_000.0
"""A query each 100 ms is part of it."""

RECOVERY_SECONDS = 10.0
MOST_GROWTH_MB = 10.0
"""From the first crowd to the second: what is left of the first is the interpreter's to reuse."""

QUIET_SECONDS = 8.0


class _Watched:
    """The plugin's usage, looked at all the time."""

    def __init__(self, one: Node) -> None:
        self._node = one
        self.before = one.usage()
        self.most = self.before
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._node.plugin.running:
            now = self._node.usage()
            self.most = replace(
                now,
                rss_mb=max(self.most.rss_mb, now.rss_mb),
                descriptors=max(self.most.descriptors, now.descriptors),
                threads=max(self.most.threads, now.threads),
            )
            await asyncio.sleep(0.1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


async def _burned(one: Node, crowd: Crowd, processes: int, seconds: float) -> Served:
    """Serve while as much CPU time is burnt as the crowd took."""
    share = min(1.0, crowd.cpu_seconds / seconds / processes)
    burning = Crowd.burning(processes=processes, share=share, seconds=QUIET_SECONDS)
    try:
        served = await one.serve(QUIET_SECONDS)
        await burning.ended()
    finally:
        burning.kill()
    print(f"CPU burnt:  {served.line()}\n           {processes} × {share:.0%} of a processor")
    return served


async def measure(options: argparse.Namespace) -> list[str]:
    """Print the figures; what doesn't hold."""
    broken: list[str] = []
    seconds, processes = options.seconds, options.processes
    async with node(options.units) as one:
        print(f"quiet:     {(await one.serve(QUIET_SECONDS)).line()}", flush=True)
        async with _Watched(one) as watched:
            crowd = Crowd.hostile(
                one.socket,
                clients=options.clients,
                processes=processes,
                seed=options.seed,
                seconds=seconds,
            )
            try:
                served = await one.serve(seconds)
                await crowd.ended()
            finally:
                crowd.kill()
            left = monotonic()
            most = watched.most
            cpu_percent = (one.usage().cpu_seconds - watched.before.cpu_seconds) / seconds * 100
        print(f"hostile:   {served.line()}")
        print(f"           {most} at most; the plugin's CPU {cpu_percent:.0f} %")
        acts = ", ".join(f"{count} {name}" for name, count in crowd.acts.most_common())
        print(f"           {options.clients} clients, {processes} processes: {acts}", flush=True)
        with suppress(AssertionError):
            await eventually(
                "descriptors as before",
                lambda: one.usage().descriptors <= watched.before.descriptors,
                RECOVERY_SECONDS,
            )
        recovered = monotonic() - left
        after = await one.serve(QUIET_SECONDS)
        usage = one.usage()
        print(f"afterwards: {after.line()}")
        print(f"           {usage}, before {watched.before}")
        print(f"           descriptors as before after {recovered:.1f} s", flush=True)
        burned = await _burned(one, crowd, processes, seconds)
        cuts = {entry["reason"] for entry in one.plugin.events("clients_cut")}
        print(f"cut for:   {', '.join(sorted(cuts))}")
        _bound(broken, "Allocate's p99", percentile(served.plugins, 99), MOST_P99_MS, "ms")
        if percentile(burned.calls, 99) < MOST_P99_MS / 2:  # the machine can tell
            _bound(broken, "… with all waiting", percentile(served.calls, 99), MOST_P99_MS, "ms")
        _bound(broken, "RSS at its peak", most.rss_mb, MOST_RSS_MB, "MB")
        _bound(broken, "a list after a flip", max(served.flips), MOST_FLIP_MS, "ms")
        _bound(broken, "… afterwards", percentile(after.plugins, 99), MOST_P99_MS, "ms")
        _bound(broken, "descriptors as before", recovered, RECOVERY_SECONDS, "s")
        if usage.threads > watched.before.threads:
            broken.append(f"{usage.threads} threads, {watched.before.threads} before")
        broken += await _grows(one, options)
        broken += one.problems()
    return broken


async def _grows(one: Node, options: argparse.Namespace) -> list[str]:
    """Send another crowd: after it there is no more memory in use than after the first."""
    before = one.usage()
    again = Crowd.hostile(
        one.socket,
        clients=options.clients,
        processes=options.processes,
        seed=options.seed + 1,
        seconds=options.seconds / 2,
    )
    try:
        await one.serve(options.seconds / 2)
        await again.ended()
    finally:
        again.kill()
    await one.serve(QUIET_SECONDS)
    after = one.usage()
    print(f"a second crowd: RSS {before.rss_mb:.1f} MB before, {after.rss_mb:.1f} MB afterwards")
    broken: list[str] = []
    _bound(broken, "RSS grew by", after.rss_mb - before.rss_mb, MOST_GROWTH_MB, "MB")
    return broken


def _bound(broken: list[str], what: str, value: float, most: float, unit: str) -> None:
    if value > most:
        broken.append(f"{what}: {value:.1f} {unit}, at most {most:g}")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long (60)")
    parser.add_argument("--clients", type=int, default=50, help="how many at a time (50)")
    parser.add_argument("--processes", type=int, default=2, help="theirs (2)")
    parser.add_argument("--units", type=int, default=2_000, help="units listed (2000)")
    parser.add_argument("--seed", type=int, default=1, help="what is done, and when (1)")
    parser.add_argument("--fuzz", action="store_true", help="mutated sessions of a kubelet instead")
    options = parser.parse_args(arguments)
    broken = asyncio.run(fuzz(options.seconds, options.seed) if options.fuzz else measure(options))
    for line in broken:
        print(f"BROKEN: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
