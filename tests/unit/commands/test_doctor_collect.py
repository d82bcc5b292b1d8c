"""What doctor looks at: sockets, the telemetry's address, backends of any kind, processes."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from teeplugin.commands.doctor import collect
from teeplugin.commands.doctor import page as pages
from teeplugin.commands.doctor.command import seen_within
from teeplugin.commands.doctor.evidence import PageState
from teeplugin.commands.doctor.model import Report
from teeplugin.commands.doctor.page import look_at_page
from teeplugin.commands.doctor.process import look_at_process
from teeplugin.config.sources import FlagValue
from teeplugin.kubelet.socket_probe import SocketState, connected, state_of
from teeplugin_backends.base import (
    Result,
    TeeMemory,
)
from tests.doctoring import broken
from tests.unit.commands.doctored_backend import MEMORY, Tee, raises
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

ROOT = Path("/")


# Sockets


def bound(path: Path, backlog: int | None = None) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    if backlog is not None:
        listener.listen(backlog)
    return listener


def test_a_sockets_state_is_told_without_changing_it(kubelet_dir: Path) -> None:
    path = kubelet_dir / "s"
    assert state_of(path) is SocketState.MISSING
    assert state_of(path / "below") is SocketState.MISSING
    path.touch()
    assert state_of(path) is SocketState.NO_SOCKET
    path.unlink()
    with bound(path):
        assert state_of(path) is SocketState.REFUSES
    path.unlink()
    with bound(path, backlog=0):
        assert connected(path) == (SocketState.LISTENS, os.getpid())
        # The first connection is still to be accepted, and there is no room for two.
        assert state_of(path) is SocketState.FULL
    assert path.is_socket()


def test_a_socket_is_found_behind_a_link(kubelet_dir: Path) -> None:
    link = kubelet_dir / "link"
    link.symlink_to(kubelet_dir / "s")
    assert state_of(link) is SocketState.MISSING
    with bound(kubelet_dir / "s", backlog=1):
        assert state_of(link) is SocketState.LISTENS


# The page


@contextlib.asynccontextmanager
async def answering(answer: bytes, *, over_and_over: bool = False) -> AsyncIterator[str]:
    """Somebody who answers every connection so."""

    ended: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(OSError):
            while over_and_over:
                writer.write(bytes(100_000))
                await writer.drain()
            if not answer:
                await reader.read()
            writer.close()
            await writer.wait_closed()
        writer.transport.abort()
        ended.append(writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await eventually("the end of the connection", lambda: ended)


def http(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\ncontent-length: {size}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        http(b"[]"),
        http(b"{}"),
        http(b'{"units": 3, "cause": null}'),
        http(b"not json"),
        http(b"[" * 50_000),
        http(b"\xff\xfe"),
        http(b"{}", "404 Not Found"),
        http(b"{", length=100),
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
)
async def test_whoever_else_answers_is_told_apart(answer: bytes) -> None:
    async with answering(answer) as address:
        assert (await look_at_page(address)).state is PageState.SOMEBODY_ELSE


async def test_an_answer_without_end_is_somebody_elses() -> None:
    endless = http(b"", length=10**12)
    async with answering(endless, over_and_over=True) as address:
        assert (await look_at_page(address)).state is PageState.SOMEBODY_ELSE


async def test_who_says_nothing_is_waited_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ANSWER_SECONDS", 0.1)
    async with answering(b"") as address:
        seen = await look_at_page(address)
    assert seen.state is PageState.SILENT
    assert seen.error == "no answer within 0.1 s"


async def test_an_address_is_off_or_free_or_not_ours() -> None:
    assert (await look_at_page("")).state is PageState.OFF
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert (await look_at_page(f"127.0.0.1:{port}")).state is PageState.NOBODY
    assert (await look_at_page(f":{port}")).state is PageState.NOBODY
    # An address for documents: it is nobody's.
    assert (await look_at_page("192.0.2.1:9840")).state is PageState.NO_SUCH_ADDRESS


async def test_a_name_that_has_no_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(anyio, "getaddrinfo", unknown)
    seen = await look_at_page("nowhere:9840")
    assert (seen.state, seen.error) == (PageState.NO_SUCH_ADDRESS, "Name or service not known")


async def test_a_connection_that_fails_otherwise_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio, "open_connection", fails)
    seen = await look_at_page("127.0.0.1:9840")
    assert (seen.state, seen.error) == (PageState.SILENT, "Network is unreachable")


# All of it


def test_a_backend_that_blocks_its_process_is_told_of_what_was_seen(
    monkeypatch: pytest.MonkeyPatch, kubelet_dir: Path
) -> None:
    told: list[Report] = []
    blocked_until = time.monotonic() + 20

    def blocks() -> TeeMemory:
        while not told and time.monotonic() < blocked_until:
            time.sleep(0.01)
        return MEMORY

    monkeypatch.setattr(collect, "load_backend", lambda *_: Tee(memory=blocks))
    flags = [
        FlagValue("kubelet-dir", "--kubelet-dir", str(kubelet_dir)),
        FlagValue("listen", "--listen", "off"),
    ]
    early: list[str] = []
    seen_within(
        flags,
        {},
        told.append,
        seconds=0.5,
        told=lambda lines: early.extend(line.finding.check for line in lines),
    )
    assert early == ["configuration", "preload", "running-settings"]
    assert [line.finding.check for line in told[0].lines][:4] == [*early, "backend"]
    fix = broken(told[0], "query", "the backend's answer timed out")
    assert "a backend that blocks its process" in fix
    assert told[0].of("kubelet-directory").text.startswith(str(kubelet_dir))


def test_a_bug_in_a_look_is_told_and_what_was_seen_before_counts(
    monkeypatch: pytest.MonkeyPatch, kubelet_dir: Path
) -> None:
    monkeypatch.setattr(collect, "look_at_records", raises(KeyError("surprise")))
    flags = [
        FlagValue("kubelet-dir", "--kubelet-dir", str(kubelet_dir)),
        FlagValue("listen", "--listen", "off"),
    ]
    report = seen_within(flags, {}, lambda _: None)
    assert "report it" in broken(report, "query", "doctor itself failed: KeyError: 'surprise'")
    assert report.of("configuration").result is Result.OK


# Processes


def test_a_plugins_process_tells_its_flags_and_settings(tmp_path: Path) -> None:
    wait = "import sys; print(flush=True); sys.stdin.read()"
    program = tmp_path / "tee-device-plugin"
    program.write_text(wait)
    words = ["-precision", "1024", "--listen", ""]
    with subprocess.Popen(
        [sys.executable, str(program), *words],
        env={**os.environ, "TEEPLUGIN_RESOURCE_NAME": "a.b/c"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = look_at_process([os.getpid(), process.pid], "a.b/c")
        process.communicate()
    assert found is not None
    assert (found.pid, list(found.flags)) == (process.pid, words)
    assert found.settings is not None
    assert (found.settings.precision_kb, found.settings.resource_name) == (1024, "a.b/c")
    assert look_at_process([process.pid], "a.b/c") is None  # it has ended
