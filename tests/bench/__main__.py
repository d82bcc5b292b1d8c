"""Run the benchmarks: `python -m tests.bench --help`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc.aio

from teeplugin.policy.units import MAX_UNITS
from tests.bench import encoding, imports, measures, pod_resources
from tests.bench.errors import BenchError
from tests.bench.figures import Results
from tests.bench.table import as_json, as_table, machine

PROGRAM = "python -m tests.bench"
INTERRUPTED = 130
SOAK_UNITS, SOAK_FLIPS, LONG_SOAK_FLIPS = 2_000, 1_000, 10_000


def _counts(text: str) -> list[int]:
    try:
        counts = sorted({int(word) for word in text.split(",")})
    except ValueError:
        counts = [0]
    if counts[0] < 1 or counts[-1] > MAX_UNITS:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give numbers from 1 to {MAX_UNITS}, like 64,2000"
        )
    return counts


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 1 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Print what the daemon costs, beside its budgets."
    )
    parser.add_argument(
        "--units",
        type=_counts,
        default=[64, 2_000, 65_536, 220_000],
        metavar="N,N,…",
        help=f"lengths of the list, 1 to {MAX_UNITS} (64,2000,65536,220000)",
    )
    parser.add_argument(
        "--rounds", type=_rounds, default=5, help="starts and restarts to take the median of (5)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the figures there as well, - to stdout"
    )
    parser.add_argument(
        "--long", action="store_true", help="10,000 flips, and streams that come and go: minutes"
    )
    parser.add_argument("--imports", action="store_true", help="what the imports take, by package")
    return parser


def main(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    # Standard output is the JSON's alone where it goes there.
    shown = sys.stderr if options.json == "-" else sys.stdout
    about = machine()
    print(about, file=shown, flush=True)
    results = Results()
    try:
        try:
            asyncio.run(_measure(options, results))
        finally:
            # What was measured until something failed is told as well.
            print(f"\n{as_table(results, options.units)}", file=shown)
        if options.imports:
            print(f"\n{imports.breakdown()}", file=shown)
        if options.json:
            _write(options.json, as_json(results, options.units, about))
    except (BenchError, OSError, grpc.aio.AioRpcError) as error:
        reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error)
        print(f"{PROGRAM}: {reason}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    return 0


def _write(path: str, text: str) -> None:
    if path == "-":
        print(text)
    else:
        Path(path).write_text(f"{text}\n")


async def _measure(options: argparse.Namespace, results: Results) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        # Cancelled, so that processes and directories are cleaned up on the way out.
        loop.add_signal_handler(number, task.cancel)
    counts, rounds = options.units, options.rounds
    await measures.warm_up()
    for units in counts:
        _say(f"N={units:,}")
        encoding.measure(units, results)
        await measures.starts(units, rounds, results)
        await measures.answered_flips(units, results)
        await measures.memory(units, results)
        await measures.allocations(units, results)
        await pod_resources.refreshes(units, results)
        await measures.kubelet_restarts(units, rounds, results)
        if options.long:
            await measures.soak_streams(units, results)
    _say("idle")
    await measures.idle(counts, results)
    _say("many flips")
    soaked = min(counts, key=lambda units: abs(units - SOAK_UNITS))
    await measures.soak_flips(soaked, LONG_SOAK_FLIPS if options.long else SOAK_FLIPS, results)


def _say(what: str) -> None:
    if sys.stderr.isatty():
        print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        sys.exit(main(sys.argv[1:]))
