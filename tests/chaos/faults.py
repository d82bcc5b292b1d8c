"""Faults of the kubelet's answers, pods, backend and settings file: a table, and its rows."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from teeplugin.simulator import ContainerStartError
from tests.chaos.model import Model
from tests.contract.under_test import KubeletUnderTest, RefusedError
from tests.fake_grpc_peer import NO_ASCII, ODD_ANSWERS, fake_peer
from tests.plugin_process import UNIT_BYTES, Plugin

BACKENDS = {
    "blocks": "time.sleep(0.4)",
    "blocks long": "time.sleep(3)",
    "raises": "raise RuntimeError('a bug')",
    "exits": "raise SystemExit(3)",
    "cancels itself": "raise asyncio.CancelledError",
    "answers nothing": "return None",
    "has more free than in total": "object.__setattr__(reading, 'free_bytes', 2 * total)",
    "has negative figures": "object.__setattr__(reading, 'total_bytes', -total)",
}
"""What is wrong with a backend's `memory()`, as Python."""

OTHER_BACKENDS = ("never enters", "fails to enter", "negative reserve", "odd access", "no access")

PATCH = """
import asyncio, pathlib, time
from teeplugin_backends.simulated import SimulatedTee
memory, access = SimulatedTee.memory, SimulatedTee.access

def wrong():
    return pathlib.Path({file!r}).read_text()

async def odd_memory(self):
    reading = await memory(self)
    total = reading.total_bytes
{branches}
    return reading

async def enter(self):
    if wrong() == "never enters":
        await asyncio.Event().wait()
    if wrong() == "fails to enter":
        raise OSError("it can't be opened")
    return self

def odd_access(self):
    if wrong() == "no access":
        raise KeyError("access")
    return "none" if wrong() == "odd access" else access(self)

SimulatedTee.memory, SimulatedTee.__aenter__, SimulatedTee.access = odd_memory, enter, odd_access
SimulatedTee.default_reserve_bytes = property(
    lambda self: -(2**23) if wrong() == "negative reserve" else 0
)
"""

BAD_SETTINGS: dict[str, Callable[[str], str | None]] = {
    "emptied": lambda _: "",
    "of zeros": lambda text: "\0" * len(text),
    "truncated": lambda text: text[:-3],
    "invalid": lambda _: "reserve: -1\n",
    "no YAML": lambda _: "reserve: [\n",
    "deleted": lambda _: None,
}
"""What becomes of the settings file's text; None where the file is deleted."""

RESERVES = (0, 8, 16)
FROZEN_SECONDS = (0.0, 0.5, 2.5)
"""Up to longer than the plugin waits for the allocation records."""

Act = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Disturbance:
    """Something that is done, and how it ends; `end` None where it is over at once."""

    name: str
    begin: Act
    end: Act | None = None

    @property
    def kind(self) -> str:
        """The first word of its name."""
        return self.name.split()[0]


@dataclass
class Faults:
    """What can go wrong beside the TEE's memory.

    `hung` says whether an enter hung, `long_seconds` how long faults lasted that were waited for,
    `visits` how many pods came.
    """

    kubelet: KubeletUnderTest
    directory: Path
    random: Random
    model: Model
    hung: bool = False
    long_seconds: float = 0.0
    visits: int = 0
    _visitors: set[str] = field(default_factory=set)
    _tasks: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._wrong, self._settings = self.directory / "wrong", self.directory / "settings.yaml"
        self._write(self._wrong, "")
        self._write(self._settings, self._text())

    def prepare(self, plugin: Plugin) -> None:
        """Give a plugin, not yet started, the backend and the settings that go wrong."""
        branches = "\n".join(
            f"    if wrong() == {name!r}: {does}" for name, does in BACKENDS.items()
        )
        plugin.patch(PATCH.format(file=str(self._wrong), branches=branches))
        plugin.command += ["--config", str(self._settings)]

    def rows(self) -> list[Disturbance]:
        """What can be begun."""
        kubelet, records = self.kubelet, self.kubelet.kubelet_dir / "pod-resources"
        away, back = partial(_move, records, "kubelet.sock", "away"), partial(self._records_back)
        rows = [
            Disturbance("kubelet frozen", self._freeze, kubelet.thaw),
            Disturbance("kubelet answers oddly", self._odd_kubelet, self._good_kubelet),
            Disturbance("records away", away, back),
            Disturbance("records odd", self._odd_records, back),
            Disturbance("pods come and go", self._open_door, partial(self._end, "pods")),
            Disturbance("reserve changed", self._change_reserve),
            *(
                Disturbance(f"backend {name}", partial(self._go_wrong, name), self._go_right)
                for name in (*BACKENDS, *OTHER_BACKENDS)
            ),
            *(
                Disturbance(f"settings {name}", partial(self._spoil, change), self._restore)
                for name, change in BAD_SETTINGS.items()
            ),
        ]
        if (root := getattr(kubelet, "host_root", None)) is not None:
            missing = partial(_move, root / "dev", "teelog", "away")
            found = partial(_move, root / "dev", "away", "teelog")
            rows.append(Disturbance("node lacks a device", missing, found))
        return rows

    async def close(self) -> None:
        """End what serves or comes and goes, and remove the pods that are left."""
        for name in tuple(self._tasks):
            await self._end(name)
        for pod in sorted(self._visitors):
            await self._remove(pod)

    async def _freeze(self) -> None:
        await self.kubelet.freeze()
        await self._wait(self.random.choice(FROZEN_SECONDS))

    async def _wait(self, seconds: float) -> None:
        self.long_seconds += seconds
        await asyncio.sleep(seconds)

    async def _odd_kubelet(self) -> None:
        await self.kubelet.stop()
        directory = self.kubelet.kubelet_dir
        sockets = ("device-plugins/kubelet.sock", "pod-resources/kubelet.sock")
        await self._answer_oddly("kubelet", [directory / socket for socket in sockets])

    async def _good_kubelet(self) -> None:
        await self._end("kubelet")
        await self.kubelet.start()

    async def _odd_records(self) -> None:
        records = self.kubelet.kubelet_dir / "pod-resources"
        await _move(records, "kubelet.sock", "away")
        await self._answer_oddly("records", [records / "kubelet.sock"])

    async def _records_back(self) -> None:
        await self._end("records")
        await _move(self.kubelet.kubelet_dir / "pod-resources", "away", "kubelet.sock")

    async def _answer_oddly(self, name: str, paths: Sequence[Path]) -> None:
        shape = self.random.choice([*ODD_ANSWERS.values(), NO_ASCII])
        serving, ended = asyncio.Event(), asyncio.Event()

        async def serve() -> None:
            async with AsyncExitStack() as stack:
                for path in paths:
                    await stack.enter_async_context(fake_peer(path, shape))
                serving.set()
                await ended.wait()

        self._tasks[name] = ended, asyncio.create_task(serve())
        await serving.wait()
        await self._wait(self.random.choice(FROZEN_SECONDS))

    async def _open_door(self) -> None:
        ended, dice = asyncio.Event(), Random(self.random.random())  # noqa: S311 - repeatable

        async def come_and_go() -> None:
            while not ended.is_set():
                self.visits += 1
                pod = f"visitor-{self.visits}"
                self._visitors.add(pod)
                with contextlib.suppress(RefusedError, ContainerStartError, AssertionError):
                    await self.kubelet.admit(pod, dice.randint(1, 4))
                await asyncio.sleep(dice.choice((0, 0.1, 0.3)))
                await self._remove(pod)

        self._tasks["pods"] = ended, asyncio.create_task(come_and_go())

    async def _remove(self, pod: str) -> None:
        with contextlib.suppress(ValueError):  # it was refused
            await self.kubelet.remove(pod)
        self._visitors.discard(pod)

    async def _end(self, name: str) -> None:
        if name not in self._tasks:
            return
        ended, task = self._tasks.pop(name)
        ended.set()
        if name == "pods":  # it may wait for a kubelet that is down
            await asyncio.wait({task}, timeout=self.kubelet.pod_seconds)
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _go_wrong(self, name: str) -> None:
        self._write(self._wrong, name)
        self.hung = self.hung or name == "never enters"
        await self._wait(3.0 if name == "blocks long" else 0.0)

    async def _go_right(self) -> None:
        self._write(self._wrong, "")

    async def _spoil(self, change: Callable[[str], str | None]) -> None:
        text = change(self._text())
        if text is None:
            self._settings.unlink()
        else:
            self._write(self._settings, text)

    async def _change_reserve(self) -> None:
        self.model.reserve = self.random.choice(RESERVES)
        await self._restore()

    async def _restore(self) -> None:
        self._write(self._settings, self._text())

    def _text(self) -> str:
        """What the file says; without a reserve, the backend's own counts."""
        reserve_bytes = self.model.reserve * UNIT_BYTES
        return "# played by chaos\n" + (f"reserve: {reserve_bytes}\n" if reserve_bytes else "")

    def _write(self, path: Path, text: str) -> None:
        """In place, as an editor that truncates, or by a rename."""
        if path == self._settings and self.random.random() < 0.5:
            path.write_text(text)
            return
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(path)


async def _move(directory: Path, name: str, to: str) -> None:
    (directory / name).rename(directory / to)
