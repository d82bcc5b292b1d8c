"""Fuzz the parsers, one after the other: `python -m tests.fuzz --help`."""

import argparse
import asyncio
import importlib.util
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
_SECONDS = 600
_MARGIN_SECONDS = 120
"""For the start, and for the last input; after that the engine itself is stuck."""

_ROW = "{:<16}{:>8}{:>12}{:>9}{:>14}{:>14}{:>10}  {}"
_HEAD = ("target", "seconds", "executions", "an s", "edges", "corpus", "findings", "seed")
_PROGRESS = re.compile(r"#\d+\s+(INITED|DONE)\s+cov: (\d+) ft: \d+ corp: (\d+)/")
_STATISTIC = re.compile(r"stat::(\w+):\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Run:
    """How one target is run: `directory` is for everything that is made by it."""

    target: Target
    seconds: int
    seed: int
    directory: Path

    @property
    def findings(self) -> Path:
        """Where the inputs that fail are left."""
        return self.directory / "findings"

    def command(self) -> list[str]:
        """The engine, on a corpus of its own that begins with the one that is kept."""
        corpus, words = self.directory / "corpus", self.directory / "words"
        for each in (corpus, self.findings, self.directory / "tmp"):
            each.mkdir(parents=True, exist_ok=True)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in self.target.words))
        return [
            *(sys.executable, "-m", "tests.fuzz.engine", self.target.name, str(self.findings)),
            *(f"-max_total_time={self.seconds}", f"-seed={self.seed}", f"-dict={words}"),
            *(f"-max_len={self.target.most_bytes}", "-print_final_stats=1", "-verbosity=1"),
            *(str(corpus), str(self.target.corpus)),
        ]


def _escaped(word: str | bytes) -> str:
    data = word.encode() if isinstance(word, str) else word
    return "".join(f"\\x{byte:02x}" for byte in data)


async def fuzz(run: Run) -> bool:
    """Run one target to its end, and print its row; whether nothing was found."""
    process = await asyncio.create_subprocess_exec(
        *run.command(),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(run.directory / "tmp")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(run.seconds + _MARGIN_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        output, _ = await process.communicate()
    text = output.decode("utf-8", "replace")
    (run.directory / "log").write_text(text, encoding="utf-8")
    found = sorted(path for path in run.findings.iterdir() if path.suffix != ".txt")
    print(_row(run, text, len(found)), flush=True)
    for path in found:
        told = path.with_suffix(".txt")
        kind = told.read_text(encoding="utf-8").partition("\n")[0] if told.exists() else "the end"
        print(f"  {kind}: {path}", flush=True)
    if process.returncode:
        print(f"  the engine ended with {process.returncode}: {run.directory / 'log'}", flush=True)
    return not found and not process.returncode


def _row(run: Run, text: str, found: int) -> str:
    told = {kind: (int(edges), int(files)) for kind, edges, files in _PROGRESS.findall(text)}
    figures = {name: int(value) for name, value in _STATISTIC.findall(text)}
    first, last = told.get("INITED", (0, 0)), told.get("DONE", (0, 0))
    executions = figures.get("number_of_executed_units", 0)
    grown = [f"{before} -> {after}" for before, after in zip(first, last, strict=True)]
    return _ROW.format(
        *(run.target.name, run.seconds, executions, executions // max(1, run.seconds)),
        *(*grown, found, run.seed),
    )


async def _fuzz_all(runs: Sequence[Run], jobs: int) -> int:
    waiting, failed = list(reversed(runs)), 0

    async def work() -> None:
        nonlocal failed
        while waiting:
            failed += not await fuzz(waiting.pop())

    print(_ROW.format(*_HEAD), flush=True)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(jobs):
            tasks.create_task(work())
    return failed


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="which ones (all)")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--seconds", type=_count, default=_SECONDS, help="for each (600)")
    parser.add_argument("--jobs", type=_count, default=1, help="how many at a time (1)")
    parser.add_argument("--seed", type=int, help="of the mutations (another for each target)")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(TARGETS))
        return 0
    if unknown := set(options.targets) - TARGETS.keys():
        parser.error(f"{', '.join(sorted(unknown))}: no such target: --list names them")
    if importlib.util.find_spec("atheris") is None:
        parser.error("atheris isn't installed: nox -s fuzz brings it along")
    directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
    runs = [
        Run(
            TARGETS[name],
            options.seconds,
            random.randrange(1, 2**31) if options.seed is None else options.seed,  # noqa: S311 - it is printed
            directory / name,
        )
        for name in options.targets or TARGETS
    ]
    failed = asyncio.run(_fuzz_all(runs, options.jobs))
    if failed:
        print(f"{failed} of {len(runs)} targets have findings, left in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
