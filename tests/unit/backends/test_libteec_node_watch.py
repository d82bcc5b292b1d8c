"""Which changes of the node's files are reported, and when teecd itself is looked at."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from asyncinotify import Inotify, Mask

from teeplugin_backends.base import Refused, TimedOut, Unreachable
from teeplugin_backends.libteec import node_watch, teecd
from teeplugin_backends.libteec.options import Options
from teeplugin_backends.libteec.results import error_of
from teeplugin_backends.libteec.teecd import Teecd, explain_login
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

INITIALIZE = "TEEC_InitializeContext"


class Counted:
    """Counts the changes reported for a node whose files are below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0
        dev = root / "dev"
        dev.mkdir()
        self.held = dev / "tc_private"
        self.held.touch()
        self.paths = [dev / "tee0", root / "run" / "teecd" / "teecd.sock", self.held]

    async def follow(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with aclosing(node_watch.changes(self.paths, [self.held])) as changes:
            # Its first step runs up to where it waits, with all watches in place.
            task_status.started()
            async for _ in changes:
                self.count += 1

    async def tells(self, act: Callable[[], object]) -> None:
        before = self.count
        act()
        await eventually("a change", lambda: self.count, until=lambda count: count > before)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Counted]:
    counted = Counted(tmp_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(counted.follow)
        await anyio.wait_all_tasks_blocked()
        yield counted
        tasks.cancel_scope.cancel()


async def test_a_node_that_comes_goes_or_is_let_go_of(node: Counted) -> None:
    tee0 = node.root / "dev" / "tee0"
    await node.tells(tee0.touch)
    await node.tells(tee0.unlink)
    holder = os.open(node.held, os.O_RDWR)
    await node.tells(lambda: os.close(holder))
    await node.tells(node.held.unlink)
    await node.tells(node.held.touch)
    holder = os.open(node.held, os.O_RDWR)
    await node.tells(lambda: os.close(holder))


async def test_a_socket_whose_directories_come_later_and_go_again(node: Counted) -> None:
    directory = node.root / "run" / "teecd"
    await node.tells(directory.parent.mkdir)
    await node.tells(directory.mkdir)
    with socket.socket(socket.AF_UNIX) as listener:
        await node.tells(lambda: listener.bind(str(directory / "teecd.sock")))
    await node.tells((directory / "teecd.sock").unlink)
    await node.tells(directory.rmdir)
    await node.tells(directory.mkdir)
    await node.tells((directory / "teecd.sock").touch)


async def test_what_others_do_beside_it_is_no_change(node: Counted) -> None:
    with Inotify() as seen:
        seen.add_watch(node.root / "dev", Mask.CREATE | Mask.CLOSE)
        for name in ("tty9", "tc_ns_client"):
            (node.root / "dev" / name).touch()
        with (node.root / "dev" / "tc_ns_client").open("r+b"):
            pass
        with node.held.open("rb"):
            pass
        while (await seen.get()).name != Path("tc_private"):
            pass
    # Another watch of the same directory has read these events as well.
    await anyio.wait_all_tasks_blocked()
    assert node.count == 0
    await node.tells((node.root / "dev" / "tee0").touch)
    assert node.count == 1


def test_what_is_watched_is_the_flavours() -> None:
    names = {
        flavour: {str(path) for path in teecd.watched(Options(), flavour, Path("/host"))[0]}
        for flavour in ("itrustee", "optee", None)
    }
    assert "/host/dev/tc_private" in names["itrustee"]
    assert teecd.SOCKET in names["itrustee"]
    assert names["optee"] == {"/dev/tee0", "/host/dev/tee0"}
    assert names[None] == names["itrustee"] | names["optee"]
    # Each query of the plugin's own has teecd open and close it.
    assert teecd.watched(Options(), None, Path("/host"))[1] == [Path("/host/dev/tc_private")]


# ---- the look at teecd


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    path = tmp_path / "teecd.sock"
    monkeypatch.setattr(teecd, "SOCKET", str(path))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def accepted(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


async def test_it_connects_only_where_something_speaks_against_teecd(
    listening: socket.socket,
) -> None:
    with listening:
        looks = Teecd()
        await looks.look("itrustee")
        assert accepted(listening) == 0
        looks.suspect = True
        await looks.look("itrustee")
        assert accepted(listening) == 1
        await looks.look("optee")
        await looks.look(None)
        assert accepted(listening) == 0


async def test_a_socket_behind_which_nobody_listens(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening.close()
    looks = Teecd()
    await looks.look("itrustee")
    looks.suspect = True
    with pytest.raises(Unreachable, match="teecd is not running: no process listens") as caught:
        await looks.look("itrustee")
    assert "systemctl start teecd" in caught.value.fix
    Path(teecd.SOCKET).unlink()
    looks.suspect = False
    with pytest.raises(Unreachable, match="there is no"):
        await looks.look("itrustee")
    monkeypatch.setattr(teecd, "SOCKET", "/dev/null")
    with pytest.raises(Unreachable, match="is not a socket"):
        await looks.look("itrustee")


async def test_a_socket_that_is_new_has_a_moment_to_be_listened_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teecd, "SOCKET", str(tmp_path / "teecd.sock"))
    looks = Teecd()
    looks.suspect = True
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(teecd.SOCKET)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(looks.look, "itrustee")
            await anyio.wait_all_tasks_blocked()
            listener.listen()


async def test_a_login_that_takes_long_is_looked_at_ever_more_rarely(
    listening: socket.socket,
) -> None:
    with listening:
        looks = Teecd()
        # After an event or a fault as well.
        looks.suspect = True
        connected = []
        for _ in range(19):
            looks.look_while_waiting({"vendor": "itrustee", "step": INITIALIZE})
            connected.append(accepted(listening))
        assert [at for at, count in enumerate(connected, 1) if count] == [1, 2, 4, 8, 16]
        looks.look_while_waiting({"vendor": "itrustee", "step": "TEEC_OpenSession"})
        assert accepted(listening) == 0
        listening.close()
        looks.suspect = False
        await looks.look("itrustee")
        with pytest.raises(Unreachable):
            looks.look_while_waiting({"vendor": "itrustee", "step": INITIALIZE})


def test_what_a_failed_login_is_said_to_be(listening: socket.socket) -> None:
    told = {"vendor": "itrustee", "step": INITIALIZE, "failed": INITIALIZE}
    told |= {"result": str(0xFFFF0000), "origin": "0"}
    error = error_of("itrustee", INITIALIZE, 0xFFFF0000, 0)
    late = TimedOut("it took long")
    with listening:
        assert isinstance(explain_login(error, told, ""), Refused)
        version = explain_login(error, told, "check major version failed, libteec 2, teecd 3")
        assert isinstance(version, Unreachable)
        assert "one release" in version.fix
        busy = explain_login(late, {"vendor": "itrustee", "step": INITIALIZE}, "")
        assert isinstance(busy, TimedOut)
        assert "though teecd accepts connections" in str(busy)
        hung = explain_login(late, {"vendor": "itrustee", "step": "TEEC_OpenSession"}, "")
        assert hung is late
    for one in (error, late):
        assert "teecd is not running" in str(explain_login(one, told, ""))


def test_a_queue_of_connections_that_is_full_is_somebody_who_listens(
    listening: socket.socket,
) -> None:
    waiting = []
    with listening:
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            waiting.append(client)
            try:
                client.connect(teecd.SOCKET)
            except BlockingIOError:
                break
        else:
            pytest.fail("the queue is never full")
        assert teecd.problem_of_connecting(Path(teecd.SOCKET)) == ""
    for client in waiting:
        client.close()
