"""READY=1 and keep-alives, as systemd receives them."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from teeplugin.daemon import systemd
from teeplugin.daemon.systemd import notify_systemd
from tests.notify_socket import NotifySocket, notify_socket
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

READY, ALIVE = "READY=1", "WATCHDOG=1"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def socket(scratch: Path, environ: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    """The socket of systemd, which the environment names."""
    environ.setenv("NOTIFY_SOCKET", str(scratch / "notify"))
    with notify_socket(str(scratch / "notify")) as socket:
        yield socket


async def at_once() -> None:
    """A device list that is there already."""


async def test_ready_waits_for_the_first_list(socket: NotifySocket) -> None:
    listed = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notify_systemd, listed.wait)
        await anyio.wait_all_tasks_blocked()
        assert socket.sent == []
        listed.set()
    # Without WATCHDOG_USEC nothing is left to do.
    assert socket.sent == [READY]


async def test_ready_is_sent_without_a_list_in_the_end(
    socket: NotifySocket, environ: pytest.MonkeyPatch
) -> None:
    environ.setattr(systemd, "READY_SECONDS", 0.05)
    await notify_systemd(anyio.sleep_forever)
    assert socket.sent == [READY]


async def test_an_abstract_socket_is_reached(environ: pytest.MonkeyPatch) -> None:
    name = f"teeplugin-{secrets.token_hex(4)}"
    environ.setenv("NOTIFY_SOCKET", f"@{name}")
    with notify_socket(f"\0{name}") as socket:
        await notify_systemd(at_once)
        assert socket.sent == [READY]


@pytest.mark.parametrize("names_us", [False, True])
async def test_keep_alives_follow_where_systemd_expects_them(
    socket: NotifySocket, environ: pytest.MonkeyPatch, names_us: bool
) -> None:
    environ.setenv("WATCHDOG_USEC", "20000")
    if names_us:
        environ.setenv("WATCHDOG_PID", str(os.getpid()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notify_systemd, at_once)
        await eventually("keep-alives", lambda: socket.sent, until=lambda sent: len(sent) > 3)
        tasks.cancel_scope.cancel()
    assert set(socket.sent[1:]) == {ALIVE}


async def test_keep_alives_of_another_process_are_not_ours(
    socket: NotifySocket, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("WATCHDOG_USEC", "20000")
    environ.setenv("WATCHDOG_PID", "1")
    await notify_systemd(at_once)
    assert socket.sent == [READY]


async def test_a_socket_that_comes_late_is_told_too(
    scratch: Path, environ: pytest.MonkeyPatch
) -> None:
    environ.setattr(systemd, "RETRY_SECONDS", 0.01)
    environ.setenv("NOTIFY_SOCKET", str(scratch / "notify"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notify_systemd, at_once)
        await anyio.wait_all_tasks_blocked()
        with notify_socket(str(scratch / "notify")) as socket:
            await eventually("READY=1", lambda: socket.sent)
            assert socket.sent[0] == READY


async def test_without_systemd_nothing_is_waited_for() -> None:
    await notify_systemd(anyio.sleep_forever)
