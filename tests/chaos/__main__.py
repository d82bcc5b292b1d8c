"""Play interleavings on simulated kubelets: `python -m tests.chaos --help`."""

import argparse
import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from teeplugin.simulator import SimulatedKubelet
from tests.chaos import interleaving
from tests.chaos.clock import faketime_library
from tests.chaos.world import mount_tmpfs, unmount
from tests.contract.under_test import Simulated


async def play(seed: int, patience_seconds: float) -> str | None:
    """Play one; None if all allocated, else what didn't, with the story."""
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    kubelet_dir = Path(tempfile.mkdtemp(prefix="tee-"))
    on_tmpfs = os.geteuid() == 0
    if on_tmpfs:
        mount_tmpfs(kubelet_dir)
    story: list[str] = []
    try:
        async with SimulatedKubelet(kubelet_dir) as simulated:
            kubelet = Simulated(simulated, directory / "node")
            kubelet.settle_seconds = 20 + patience_seconds
            await interleaving.run(
                kubelet,
                directory,
                seed,
                on_tmpfs=on_tmpfs,
                patience_seconds=patience_seconds,
                story=story,
            )
    except Exception as error:  # noqa: BLE001 - each failure is told with its seed
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        return (
            f"seed {seed}: {type(error).__name__}: {error} ({where})\n"
            f"  {'; '.join(story)}\n  logs in {directory}"
        )
    else:
        shutil.rmtree(directory)
    finally:
        if on_tmpfs:
            with contextlib.suppress(OSError):
                unmount(kubelet_dir)
        shutil.rmtree(kubelet_dir, ignore_errors=True)
    return None


async def _play_all(seeds: Sequence[int], jobs: int, patience_seconds: float) -> int:
    failed, done, began = 0, 0, monotonic()
    waiting = list(reversed(seeds))

    async def work() -> None:
        nonlocal failed, done
        while waiting:
            problem = await play(waiting.pop(), patience_seconds)
            done += 1
            if problem is not None:
                failed += 1
                print(problem, flush=True)
            if done % 25 == 0:
                print(f"{done} of {len(seeds)}, {failed} failed", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(jobs):
            tasks.create_task(work())
    print(
        f"{len(seeds)} interleavings, seeds {seeds[0]} to {seeds[-1]}, {failed} failed, "
        f"{monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--first", type=int, default=1, metavar="SEED", help="the first seed (1)")
    parser.add_argument("--count", type=int, default=500, help="how many (500)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait so much longer for everything, on a busy machine (0)",
    )
    options = parser.parse_args(arguments)
    try:
        faketime_library()
    except FileNotFoundError as error:
        parser.error(str(error))
    seeds = range(options.first, options.first + options.count)
    return asyncio.run(_play_all(seeds, options.jobs, options.patience))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
