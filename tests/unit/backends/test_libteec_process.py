"""The helper process: one at a time, killed when nobody waits for it, never waited for in vain."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import CodeType

import anyio
import pytest

from teeplugin_backends.libteec import process
from teeplugin_backends.libteec.process import (
    WRONG_INTERPRETER,
    CantEndError,
    Ended,
    HelperProcesses,
)
from tests.usage import open_files
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

NAME = "/vendor/bin/some-name"

HANGS = """
import os, time
def main(request):
    os.write(1, b"step being asleep\\n")
    time.sleep(1000)
"""


@pytest.fixture
async def helpers() -> AsyncIterator[HelperProcesses]:
    helpers = HelperProcesses(NAME)
    yield helpers
    await helpers.close()


def plays(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Have the helper be this program."""
    program: tuple[tuple[str, CodeType | None], ...] = (
        ("package", None),
        ("package.helper", compile(source, "helper", "exec")),
    )
    monkeypatch.setattr(process, "_program", lambda: program)


def run(source: str) -> str:
    """Write a helper whose `main` is this one line."""
    return f"import os, sys\ndef main(request):\n    {source}\n"


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def asleep(helpers: HelperProcesses) -> int:
    """Wait until a helper has come to its call, and give its process id."""

    def look() -> int:
        running = helpers._process
        return running.pid if running is not None and helpers.outstanding else 0

    pid = await eventually("a helper", look)
    said = Path(f"/proc/{pid}/fd/1")
    await eventually("its call", lambda: b"asleep" in said.read_bytes())
    return pid


async def test_what_it_tells_is_read_by_key_and_the_last_counts(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run(r'os.write(1, b"step a\nstep b c\nvendor x\n"); os._exit(0)'))
    assert await helpers.run({}) == Ended(0, {"step": "b c", "vendor": "x"})
    assert not helpers.outstanding


async def test_the_request_arrives_with_our_process_id(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run('print("got", request["colour"], request["parent"])'))
    told = (await helpers.run({"colour": "red"})).told
    assert told == {"got": f"red {os.getpid()}"}


async def test_its_name_is_the_identity_and_its_environment_is_fixed(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/nowhere.so")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/some/where")
    source = (
        'print("name", open("/proc/self/cmdline").read().split(chr(0))[0]);'
        'print("environment", *sorted(os.environ)); print("directory", os.getcwd());'
        'print("session", os.getsid(0) == os.getpid()); print("modules", "site" in sys.modules)'
    )
    plays(monkeypatch, run(source))
    told = (await helpers.run({})).told
    assert told["name"] == NAME
    assert told["environment"] == "LC_ALL LD_LIBRARY_PATH PATH"
    assert (told["directory"], told["session"], told["modules"]) == ("/", "True", "False")


async def test_the_helper_brings_along_what_it_needs_and_nothing_else(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = compile(run('print("modules", *sorted(sys.modules))'), "probe", "exec")
    program = (*process._program(), ("teeplugin_backends.libteec.probe", probe))
    monkeypatch.setattr(process, "_program", lambda: program)
    modules = set((await helpers.run({})).told["modules"].split())
    assert {"ctypes", "teeplugin_backends.libteec.client"} <= modules
    # Each of these would take a good part of the time that a query may take.
    assert not modules & {"collections", "enum", "json", "pathlib", "re", "signal", "typing"}
    assert "teeplugin_backends.base" not in modules


async def test_how_it_ended_is_told_with_its_last_complaint(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run(r'os.write(2, b"first\nlast words\n\n"); os._exit(7)'))
    assert await helpers.run({}) == Ended(7, {}, "last words")
    plays(monkeypatch, run("os.abort()"))
    assert (await helpers.run({})).signal_name == "SIGABRT"


async def test_a_helper_that_writes_without_end_fills_no_memory(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run(r'while True: os.write(2, b"x" * 1023 + b"\n")'))
    ended = await helpers.run({})
    assert ended.status != 0
    assert set(ended.complaint) <= set("x")
    assert len(ended.complaint) <= 200


async def test_cancellation_kills_it(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, HANGS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(helpers.run, {})
        pid = await asleep(helpers)
        tasks.cancel_scope.cancel()
    assert helpers.step == "being asleep"
    await eventually("its end", lambda: gone(pid))
    await eventually("that it is reaped", lambda: not helpers.outstanding)


async def test_the_end_kills_it_and_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, HANGS)
    helpers = HelperProcesses(NAME)
    query = asyncio.create_task(helpers.run({}))
    pid = await asleep(helpers)
    with anyio.fail_after(2):
        await helpers.close()
        assert (await query).signal_name == "SIGKILL"
    assert gone(pid)


async def test_one_that_cant_end_is_not_waited_for_and_no_other_is_started(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, HANGS)
    with monkeypatch.context() as unkillable:
        # As in a call that the kernel doesn't interrupt.
        unkillable.setattr(asyncio.subprocess.Process, "kill", lambda _: None)
        query = asyncio.create_task(helpers.run({}))
        pid = await asleep(helpers)
        query.cancel()
        await asyncio.wait([query], timeout=1)
        assert query.cancelled()
        for _ in range(3):
            with pytest.raises(CantEndError) as caught:
                await helpers.run({})
            assert (caught.value.pid, caught.value.step) == (pid, "being asleep")
        with anyio.fail_after(2):
            await helpers.close()
        assert not gone(pid)
    await helpers.close()
    await eventually("its end", lambda: gone(pid))
    plays(monkeypatch, run('print("well", "again")'))
    assert (await helpers.run({})).told == {"well": "again"}


async def test_another_version_of_python_reads_nothing_of_ours(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run('print("never", "seen")'))
    monkeypatch.setattr(sys, "version", f"{sys.version} of yesterday")
    ended = await helpers.run({})
    assert ended.status == WRONG_INTERPRETER
    assert ended.told == {"interpreter": f"{sys.version.split()[0]} of {sys.base_prefix}"}


async def test_an_interpreter_that_was_moved_is_refused(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/opt/elsewhere")
    assert (await helpers.run({})).status == WRONG_INTERPRETER


async def test_an_interpreter_that_isnt_there_is_an_error(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_interpreter", lambda: "/no/such/python")
    with pytest.raises(FileNotFoundError):
        await helpers.run({})


async def test_no_descriptor_is_left_open(
    helpers: HelperProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    plays(monkeypatch, run("pass"))
    await helpers.run({})
    before = open_files()
    for _ in range(5):
        await helpers.run({})
    assert open_files() - before == set()


def test_an_embedded_python_names_its_base_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(process._interpreter()).samefile("/proc/self/exe")
    monkeypatch.setattr(os.path, "realpath", lambda _: "/vendor/bin/tee-device-plugin")
    monkeypatch.setattr(sys, "_base_executable", "/usr/bin/python3", raising=False)
    assert process._interpreter() == "/usr/bin/python3"
