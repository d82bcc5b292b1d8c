"""The helper process on the test libteec: who it is, how it ends, where it runs from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

import teeplugin_backends
from teeplugin_backends.base import Refused, TimedOut, Unreachable
from teeplugin_backends.libteec import backend, process
from tests.tee.asking import (
    CALLS,
    DEFAULT,
    GIB,
    Tee,
    fault,
    made_tee,  # noqa: F401 - the fixture `tee`
)
from tests.tee.build import USER
from tests.tee.clients import Client
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


# ---- who asks


async def test_while_it_asks_its_name_and_user_are_the_identity(tee: Tee) -> None:
    tee.play(fault="invoke:slow:500")
    identity = tee.backend("itrustee").identity()
    assert identity is not None

    async def look() -> None:
        await eventually("the query", lambda: "invoke" in tee.calls())
        [pid] = tee.pids()
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert os.fsdecode(command.split(b"\0")[0]) == identity.path
        [uid] = {row.split(":")[2] for row in _passwd() if row.startswith(f"{identity.user}:")}
        uids = Path(f"/proc/{pid}/status").read_text().partition("Uid:")[2].split()[:4]
        assert set(uids) == {uid}
        blocked = Path(f"/proc/{pid}/status").read_text().partition("SigBlk:")[2].split()[0]
        assert int(blocked, 16) & 1 << signal.SIGTERM - 1
        assert int(blocked, 16) & 1 << signal.SIGINT - 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        assert await tee.backend("itrustee").memory() == DEFAULT


def _passwd() -> list[str]:
    return Path("/etc/passwd").read_text().splitlines()


async def test_under_another_name_it_is_refused_and_told_what_to_do(tee: Tee) -> None:
    error = await fault(tee.backend("itrustee", identity=sys.executable).memory())
    assert isinstance(error, Refused)
    assert "CA_CALLER_ACCESS_DENIED" in str(error)
    assert "tee-device-plugin identity" in error.fix
    assert tee.refusals() == ["the caller's argv[0] and user aren't on the TA's allowlist"]


async def test_as_another_user_it_doesnt_even_try(tee: Tee) -> None:
    error = await fault(tee.backend("itrustee", user="tee").memory())
    assert isinstance(error, Refused)
    assert f"is {USER} in /etc/passwd, not tee" in str(error)
    assert "user=" in error.fix
    assert "init" not in tee.calls()
    # OP-TEE does not check its callers.
    assert await tee.backend("optee", user="tee", identity="/x").memory() == DEFAULT


async def test_what_is_preloaded_is_refused_before_the_library_is_loaded(
    tee: Tee, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(tee.built.libteememca))
    assert await tee.backend("itrustee").memory() == DEFAULT  # the parent has removed it
    monkeypatch.setitem(process._ENVIRONMENT, "LD_PRELOAD", str(tee.built.libteememca))
    before = len(tee.calls())
    error = await fault(tee.backend("itrustee").memory())
    assert isinstance(error, Unreachable)
    assert "LD_PRELOAD" in error.fix
    assert len(tee.calls()) == before


async def test_both_clients_of_ours_tell_the_same(tee: Tee) -> None:
    tee.play(total_bytes=5 * GIB + 4096, free_bytes=3 * GIB + 4096, mem_unit=4096)
    memory = await tee.backend("itrustee").memory()
    native = Client.prepare(tee.built, tee.directory)
    native = native.with_(environment={"TEEMEMCA_RESERVE_KB": "0"})
    assert native.answer() == (memory.free_bytes // 1024, memory.total_bytes // 1024)


# ---- hangs


@pytest.mark.parametrize("vendor", ["itrustee", "optee"])
@pytest.mark.parametrize("call", ["load", *CALLS])
async def test_a_hang_costs_one_helper_and_is_named(
    tee: Tee, vendor: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "ANSWER_SECONDS", 0.5)
    tee.play(fault=f"{call}:hang")
    async with tee.backend(vendor) as asked:
        started = time.monotonic()
        error = await fault(asked.memory())
        assert time.monotonic() - started < 1.5
        assert isinstance(error, TimedOut)
        step = {"load": "dlopen ", "finalize": "TEEC_FinalizeContext"}.get(call, "TEEC_")
        assert str(error).startswith(step)
        assert len(tee.pids()) == 1
        await tee.no_helper_is_left()
        tee.play()
        await eventually("its end", lambda: not asked._helpers.outstanding)
        assert await asked.memory() == DEFAULT


async def test_the_plugins_own_deadline_kills_it_too(tee: Tee) -> None:
    tee.play(fault="open:hang")
    async with tee.backend("itrustee") as asked:
        with anyio.move_on_after(0.5):
            await asked.memory()
        await tee.no_helper_is_left()


async def test_the_backends_end_is_at_once_while_a_query_hangs(tee: Tee) -> None:
    tee.play(fault="open:hang")
    asked = tee.backend("itrustee")
    async with anyio.create_task_group() as tasks:

        async def ask() -> None:
            async with asked:
                await asked.memory()

        tasks.start_soon(ask)
        await eventually("the query", lambda: "open" in tee.calls())
        started = time.monotonic()
        tasks.cancel_scope.cancel()
    assert time.monotonic() - started < 1
    await tee.no_helper_is_left()


async def test_it_ends_with_the_plugin_however_that_ends(tee: Tee) -> None:
    tee.play(fault="open:hang")
    plugin = _another_python(
        tee, ["-c", _ASK, str(tee.built.itrustee), str(tee.directory / "ours.sec"), USER]
    )
    try:
        await eventually("the query", lambda: "open" in tee.calls())
    finally:
        plugin.kill()
        plugin.communicate(timeout=10)
    await tee.no_helper_is_left()


# ---- where it runs from

_ASK = """
import asyncio, os, sys
from teeplugin_backends.libteec import LibTeec, process
process._ENVIRONMENT.update((k, v) for k, v in os.environ.items() if k.startswith("TEST_TEE"))
options = dict(zip(("library", "ta-path", "user"), sys.argv[1:]))
print(asyncio.run(LibTeec.from_options(options).memory()), process.__file__)
"""


def _another_python(tee: Tee, words: list[str], **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, **environ}
        | {name: process._ENVIRONMENT[name] for name in ("TEST_TEE_STATE", "TEST_TEE_LOG")},
        cwd=tee.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_works_from_within_a_zip(tee: Tee) -> None:
    archive = tee.directory / "plugin.zip"
    packages = Path(teeplugin_backends.__path__[0])
    with zipfile.ZipFile(archive, "w") as file:
        for source in packages.rglob("*.py"):
            file.write(source, source.relative_to(packages.parent))
    words = ["-c", _ASK, str(tee.built.itrustee), str(tee.directory / "ours.sec"), USER]
    with _another_python(tee, words, PYTHONPATH=str(archive)) as python:
        out, err = python.communicate(timeout=30)
    assert out.startswith(f"TeeMemory(total_bytes={GIB}, "), err
    assert f"{archive}{os.sep}" in out


async def test_a_fresh_helper_is_small_and_quick(tee: Tee) -> None:
    async with tee.backend("itrustee") as asked:
        walls = []
        for _ in range(21):
            started = time.perf_counter()
            await asked.memory()
            walls.append((time.perf_counter() - started) * 1000)
        tee.play(fault="finalize:slow:300")

        async def look() -> int:
            before = tee.pids()
            await eventually("the last call", lambda: tee.calls().count("finalize") == 22)
            [pid] = tee.pids() - before or {max(tee.pids())}
            status = Path(f"/proc/{pid}/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0])

        peaks: list[int] = []
        async with anyio.create_task_group() as tasks:

            async def note(peak: Callable[[], Awaitable[int]]) -> None:
                peaks.append(await peak())

            tasks.start_soon(note, look)
            await asked.memory()
    median = sorted(walls)[len(walls) // 2]
    print(f"helper: median {median:.1f} ms, least {min(walls):.1f} ms, {peaks[0]} KB")
    assert min(walls) <= 40
    assert peaks[0] <= 12 * 1024
