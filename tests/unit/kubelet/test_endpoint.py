import asyncio
import os
import socket
import stat
from pathlib import Path

import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from teeplugin.kubelet import endpoint as endpoint_module
from teeplugin.kubelet.device_plugin_service import DevicePluginService
from teeplugin.kubelet.endpoint import Endpoint, remove_stale_sockets
from teeplugin.kubelet.socket_probe import SocketState
from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.primitives.latest import Latest
from teeplugin_backends.base import ContainerAccess
from tests.usage import open_files
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


def make_endpoint(directory: Path) -> Endpoint:
    watch_streams = WatchStreams()
    service = DevicePluginService(
        latest_list=Latest(None),
        watch_streams=watch_streams,
        access=ContainerAccess,
        resource_name="huawei.com/tee-ram",
        unit_bytes=524288,
        on_allocated=lambda _: None,
    )
    return Endpoint(directory=directory, service=service, watch_streams=watch_streams)


@pytest.fixture
def directory(kubelet_dir: Path) -> Path:
    return kubelet_dir / "device-plugins"


def leave_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


async def test_the_socket_is_ours_alone_to_connect_to(directory: Path) -> None:
    endpoint = make_endpoint(directory)
    await endpoint.open()
    assert stat.S_IMODE(endpoint.path.stat().st_mode) == 0o600
    assert endpoint.in_place
    await endpoint.close()
    assert list(directory.iterdir()) == []


async def test_there_is_no_moment_in_which_others_could_connect(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(directory)
    modes = []
    listen = socket.socket.listen

    def look_and_listen(self: socket.socket, *backlog: int) -> None:
        modes.append(stat.S_IMODE(endpoint.path.stat().st_mode))
        listen(self, *backlog)

    monkeypatch.setattr(socket.socket, "listen", look_and_listen)
    before = os.umask(0)
    try:
        await endpoint.open()
    finally:
        os.umask(before)
    await endpoint.close()
    assert modes[:1] == [0o600]


async def test_two_instances_have_sockets_of_different_names(directory: Path) -> None:
    older, newer = make_endpoint(directory), make_endpoint(directory)
    await older.open()
    await newer.open()
    await older.close()
    assert newer.in_place
    await newer.close()


async def test_dead_sockets_of_ours_and_of_the_original_are_removed(directory: Path) -> None:
    for name in ("tee-ram-0badcafe.sock", "tee-ram.sock", "other.sock"):
        leave_dead_socket(directory / name)
    remove_stale_sockets(directory)
    assert [path.name for path in directory.iterdir()] == ["other.sock"]


async def test_tidying_removes_what_was_dead_at_an_earlier_look_and_asks_itself_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(directory)
    await endpoint.open()
    left = directory / "tee-ram-0badcafe.sock"
    leave_dead_socket(left)
    probed: list[Path] = []

    def probe(path: Path) -> SocketState:
        probed.append(path)
        return SocketState.REFUSES if path == left else SocketState.LISTENS

    monkeypatch.setattr(endpoint_module, "state_of", probe)
    now = 0.0
    monkeypatch.setattr(endpoint_module, "monotonic", lambda: now)
    for now, stays in ((100.0, True), (100.9, True), (101.0, False)):
        endpoint.tidy()
        assert left.exists() is stays, now
    assert set(probed) == {left, directory / "tee-ram.sock"}
    assert endpoint.in_place
    await endpoint.close()


async def test_tidying_spares_a_socket_that_is_bound_and_about_to_listen(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(directory)
    now = 0.0
    monkeypatch.setattr(endpoint_module, "monotonic", lambda: now)
    path = directory / "tee-ram-0badcafe.sock"
    with socket.socket(socket.AF_UNIX) as starting:
        starting.bind(str(path))
        endpoint.tidy()
        starting.listen()
        now = 2.0
        endpoint.tidy()
        assert path.exists()
    # Dead from now on, which isn't yet for long.
    now = 3.0
    endpoint.tidy()
    assert path.exists()


async def test_tidying_tells_nobody_what_it_can_not_remove(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(directory)
    left = directory / "tee-ram-0badcafe.sock"
    leave_dead_socket(left)
    monkeypatch.setattr(endpoint_module, "SUSPECT_SECONDS", 0)

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(self), missing_ok)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(Path, "unlink", refuse)
        endpoint.tidy()
    assert not logs
    endpoint.tidy()
    assert not left.exists()


async def test_tidying_without_a_descriptor_waits_for_another_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = make_endpoint(directory)

    def refuse(self: Path, pattern: str) -> None:
        raise OSError(24, "Too many open files", str(self), pattern)

    monkeypatch.setattr(Path, "glob", refuse)
    endpoint.tidy()


async def test_a_live_socket_is_left_alone_even_if_it_accepts_nobody(directory: Path) -> None:
    path = directory / "tee-ram-0badcafe.sock"
    with socket.socket(socket.AF_UNIX) as live, socket.socket(socket.AF_UNIX) as queued:
        live.bind(str(path))
        live.listen(0)
        queued.connect(str(path))
        remove_stale_sockets(directory)
        assert path.exists()


async def test_what_is_no_socket_is_left_alone(directory: Path) -> None:
    (directory / "tee-ram-1.sock").write_text("a file")
    (directory / "tee-ram-2.sock").mkdir()
    (directory / "tee-ram-3.sock").symlink_to(directory / "elsewhere")
    leave_dead_socket(directory / "others.sock")
    (directory / "tee-ram-4.sock").symlink_to(directory / "others.sock")
    remove_stale_sockets(directory)
    assert len(list(directory.iterdir())) == 5


async def test_a_socket_that_was_removed_or_replaced_is_noticed_and_not_unlinked(
    directory: Path,
) -> None:
    endpoint = make_endpoint(directory)
    await endpoint.open()
    endpoint.path.unlink()
    assert not endpoint.in_place
    endpoint.path.write_text("somebody else's")
    assert not endpoint.in_place
    await endpoint.close()
    assert endpoint.path.read_text() == "somebody else's"


async def test_opening_again_after_the_socket_went_listens_again(directory: Path) -> None:
    endpoint = make_endpoint(directory)
    await endpoint.open()
    endpoint.path.unlink()
    await endpoint.open()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(endpoint.path))
    await endpoint.close()


async def test_a_directory_that_is_gone_is_an_os_error_and_leaks_nothing(directory: Path) -> None:
    endpoint = make_endpoint(directory)
    directory.rmdir()
    before = open_files()
    with pytest.raises(FileNotFoundError):
        await endpoint.open()
    assert open_files() - before == set()
    await endpoint.close()


async def test_a_socket_that_can_not_be_removed_is_left_and_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_dead_socket(directory / "tee-ram-00000000.sock")
    endpoint = make_endpoint(directory)

    def refuse(self: Path, *, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(self), missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with capture_logs() as logs:
        await endpoint.open()
        await endpoint.close()
    assert [entry["event"] for entry in logs] == ["socket_left", "listening", "socket_left"]
    assert logs[0]["error"] == "Read-only file system"


async def test_the_socket_is_gone_before_its_clients_are(directory: Path) -> None:
    # A probe that connects while the server ends would find a plugin that does not answer.
    endpoint = make_endpoint(directory)
    await endpoint.open()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(endpoint.path))
        await eventually("a client", lambda: endpoint.has_client_since(0))
        closing = asyncio.create_task(endpoint.close())
        await anyio.lowlevel.checkpoint()
        assert not closing.done()
        assert not endpoint.path.exists()
        assert not endpoint.in_place
        await closing
