"""Hostile clients in processes of their own, and processes that only burn as much CPU time."""

import asyncio
import multiprocessing
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from time import monotonic, process_time, sleep

from tests.hostile.acts import ACTS
from tests.hostile.wire import GONE, connected

_STORM = 40
"""Connections of one storm."""

_spawn = multiprocessing.get_context("spawn")


async def misbehave(path: Path, seed: int, seconds: float, done: Counter[str]) -> None:
    """Be one client, who does one act after the other, each for a few seconds at most."""
    random = Random(seed)  # noqa: S311 - to be repeatable
    ends = monotonic() + seconds
    while (left := ends - monotonic()) > 0:
        name = random.choice(sorted(ACTS))
        for _ in range(_STORM if name == "come_and_go" else 1):
            with suppress(*GONE):
                async with (
                    asyncio.timeout(min(left, random.uniform(0.2, 4))),
                    connected(path) as client,
                ):
                    await ACTS[name](client, random)
            done[name] += 1
        await asyncio.sleep(0)


def _crowd(path: Path, seeds: Sequence[int], seconds: float, tell: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done: Counter[str] = Counter()

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as tasks:
            for seed in seeds:
                tasks.create_task(misbehave(path, seed, seconds, done))

    asyncio.run(all_of_them())
    tell.send((done, process_time()))


def _burn(share: float, seconds: float, tell: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    began = monotonic()
    while monotonic() - began < seconds:
        if process_time() < share * (monotonic() - began):
            sum(range(1_000))
        else:
            sleep(0.001)
    tell.send((Counter(), process_time()))


class Crowd:
    """Child processes that go on for `seconds`; `acts` and `cpu_seconds` once they have ended."""

    def __init__(self) -> None:
        self._children: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        self.acts: Counter[str] = Counter()
        self.cpu_seconds = 0.0

    @classmethod
    def hostile(
        cls, path: Path, *, clients: int, processes: int, seed: int, seconds: float
    ) -> "Crowd":
        crowd = cls()
        for number in range(processes):
            seeds = range(seed * 1_000 + number, seed * 1_000 + clients, processes)
            crowd._start(_crowd, path, seeds, seconds)
        return crowd

    @classmethod
    def burning(cls, *, processes: int, share: float, seconds: float) -> "Crowd":
        """Take this share of a processor in each process, and do nothing else."""
        crowd = cls()
        for _ in range(processes):
            crowd._start(_burn, share, seconds)
        return crowd

    def _start(self, what: object, *arguments: object) -> None:
        told, tell = _spawn.Pipe(duplex=False)
        child = _spawn.Process(target=what, args=(*arguments, tell), daemon=True)  # type: ignore[arg-type]
        child.start()
        tell.close()
        self._children.append((child, told))

    async def ended(self) -> None:
        """Wait for all of them."""
        for child, told in self._children:
            acts, cpu_seconds = await asyncio.to_thread(told.recv)
            self.acts += acts
            self.cpu_seconds += cpu_seconds
            await asyncio.to_thread(child.join)

    def kill(self) -> None:
        for child, _ in self._children:
            if child.is_alive():
                child.kill()
