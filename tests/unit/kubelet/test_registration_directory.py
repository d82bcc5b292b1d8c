"""The registration where its directory, or its socket in it, is missing, dead or others'."""

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from teeplugin.kubelet import registration as registration_module
from teeplugin.kubelet.directory_watch import is_dead_mount
from teeplugin.kubelet.endpoint import Endpoint
from teeplugin.kubelet.registration import DirectoryLostError
from teeplugin.simulator import EventKind, SimulatedKubelet
from tests.in_process import registering
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def directory(kubelet_dir: Path) -> Path:
    return kubelet_dir / "device-plugins"


def said(logs: list[Any], event: str) -> list[Any]:
    return [entry for entry in logs if entry["event"] == event]


async def test_a_directory_we_may_not_write_is_told_once_and_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Endpoint.open
    tries = 0

    async def fail_twice(self: Endpoint) -> None:
        nonlocal tries
        tries += 1
        if tries <= 2:
            raise PermissionError(30, "Read-only file system")
        await opened(self)

    monkeypatch.setattr(Endpoint, "open", fail_twice)
    # Nothing tells when a disk can be written again, so that is not left to the long looks.
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 3600)
    monkeypatch.setattr(registration_module, "LISTEN_SECONDS", 0.01)
    with capture_logs() as logs:
        async with registering(directory) as ours:
            await eventually("our socket", lambda: ours.endpoint.in_place)
    (entry,) = [one for one in said(logs, "not_registered") if "can't listen" in one["reason"]]
    assert "Read-only file system" in entry["error"]


async def test_a_directory_that_cannot_be_looked_at_ends_nothing(directory: Path) -> None:
    # What the system refuses here is a name that is too long; a permission is refused likewise.
    with capture_logs() as logs:
        async with registering(directory / ("d" * 300)):
            await eventually("the reason is logged", lambda: said(logs, "not_registered"))
    (entry,) = said(logs, "not_registered")
    assert entry["reason"].startswith("can't listen on ")
    assert "File name too long" in entry["error"]


async def test_a_directory_made_later_is_found_at_once(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 3600)
    directory = kubelet_dir / "device-plugins"
    directory.rmdir()
    with capture_logs() as logs:
        async with registering(directory) as ours:
            await eventually("the not_registered_reason told", lambda: said(logs, "not_registered"))
            directory.mkdir()
            await eventually("our socket", lambda: ours.endpoint.in_place, 2)


async def test_a_dead_mount_ends_the_registration_with_the_fix(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dead(_: Path) -> bool:
        return True

    monkeypatch.setattr(registration_module, "is_dead_mount", dead)
    with pytest.RaisesGroup(pytest.RaisesExc(DirectoryLostError, match="restart the plugin's pod")):
        async with registering(directory):
            await anyio.sleep_forever()


async def test_a_directory_that_was_deleted_while_allocated_is_a_dead_mount(tmp_path: Path) -> None:
    allocated = tmp_path / "allocated"
    allocated.mkdir()
    assert not await is_dead_mount(allocated)
    descriptor = os.open(allocated, os.O_DIRECTORY)
    try:
        allocated.rmdir()
        assert await is_dead_mount(Path(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
    assert not await is_dead_mount(allocated)


async def test_a_directory_in_the_moment_of_its_deletion_is_no_dead_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr("teeplugin.kubelet.directory_watch._has_no_links", lambda _: next(answers))
    assert not await is_dead_mount(tmp_path)


async def test_a_socket_replaced_by_something_else_is_left_alone_and_another_opened(
    kubelet_dir: Path, directory: Path
) -> None:
    async with SimulatedKubelet(kubelet_dir) as kubelet, registering(directory) as ours:
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        usurped = ours.endpoint.path
        usurped.unlink()
        usurped.mkdir()
        await eventually("again", lambda: kubelet.log.count(EventKind.REGISTERED) > 1)
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        assert usurped.is_dir()
        assert ours.endpoint.path != usurped
