"""The registration against kubelets that behave badly; the contract has the well-behaved ones."""

import socket
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from grpclib import GRPCError, Status
from structlog.testing import capture_logs

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet import registration as registration_module
from teeplugin.kubelet.directory_watch import DirectoryWatch
from teeplugin.kubelet.grpc_client import NoAnswer
from teeplugin.kubelet.registration import Registration
from teeplugin.simulator import EventKind, SimulatedKubelet
from tests.in_process import registering
from tests.unit.kubelet.registry import registry, said
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_kubelet_that_refuses_is_asked_again_and_told_of_once(directory: Path) -> None:
    async def refuse() -> None:
        raise GRPCError(Status.UNKNOWN, "not today")

    with capture_logs() as logs:
        async with registering(directory), registry(directory / "kubelet.sock", refuse) as kubelet:
            await eventually("three calls", lambda: len(kubelet.requests) >= 3)
    (entry,) = [one for one in said(logs, "not_registered") if "refused" in one["reason"]]
    assert entry["error"] == "not today"


async def test_register_names_version_socket_resource_and_options(directory: Path) -> None:
    async def take() -> None: ...

    async with (
        registering(directory) as ours,
        registry(directory / "kubelet.sock", take) as kubelet,
    ):
        await eventually("a call", lambda: kubelet.requests)
        (request, *_) = kubelet.requests
        assert request.version == "v1beta1"
        assert request.endpoint == ours.endpoint.name
        assert request.resource_name == "huawei.com/tee-ram"
        # Kubelets of long ago read them here.
        assert request.options == v1beta1.DevicePluginOptions()


async def test_a_kubelet_that_never_opens_a_stream_has_not_registered_us(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take() -> None: ...

    monkeypatch.setattr(registration_module, "SLOW_SECONDS", 0.05)
    with capture_logs() as logs:
        async with registering(directory), registry(directory / "kubelet.sock", take) as kubelet:
            await eventually("a second call", lambda: len(kubelet.requests) >= 2)
    assert not said(logs, "registered")


async def test_a_kubelet_that_hangs_in_register_is_given_up_and_asked_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "PENDING_SECONDS", 0.05)
    path = directory / "kubelet.sock"
    async with registering(directory), registry(path, anyio.sleep_forever) as kubelet:
        await eventually("a second call", lambda: len(kubelet.requests) >= 2)


async def test_a_kubelet_that_hangs_in_register_gives_way_to_its_successor(directory: Path) -> None:
    async def take() -> None: ...

    path = directory / "kubelet.sock"
    async with registering(directory), registry(path, anyio.sleep_forever) as hung:
        await eventually("a call", lambda: hung.requests)
        async with registry(path, take) as successor:
            await eventually("a call to the successor", lambda: successor.requests, 2)


async def test_a_kubelet_that_hangs_up_at_once_is_survived(directory: Path) -> None:
    calls = 0
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "kubelet.sock"))
        listener.listen()
        listener.setblocking(False)
        async with registering(directory):
            while calls < 3:
                await anyio.wait_readable(listener)
                listener.accept()[0].close()
                calls += 1


async def test_refused_dials_of_a_new_kubelet_are_repeated_every_50_ms(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take() -> None: ...

    pauses: list[float] = []
    call_register = Registration._call_register

    async def counted(self: Registration) -> None:
        pauses.append(self._back_off_seconds)
        await call_register(self)

    monkeypatch.setattr(Registration, "_call_register", counted)
    path = directory / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        # Bound and not yet listening, for longer than pauses that grow would bear.
        bound.bind(str(path))
        async with registering(directory):
            await eventually("six tries", lambda: len(pauses) >= 6)
            assert pauses[0] == 0
            assert set(pauses[1:]) == {0.05}
            async with registry(path, take) as kubelet:
                await eventually("a call", lambda: kubelet.requests, 1)


async def test_without_inotify_everything_is_still_seen_in_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take() -> None: ...

    def no_more(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("teeplugin.kubelet.directory_watch.Inotify", no_more)
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 0.05)
    with capture_logs() as logs:
        async with registering(directory) as ours:
            await eventually("our socket", lambda: ours.endpoint.in_place)
            async with registry(directory / "kubelet.sock", take) as kubelet:
                await eventually("a call", lambda: kubelet.requests, 2)
    assert said(logs, "directory_not_watched")


async def test_being_asked_many_times_registers_once_more_and_costs_no_device(
    kubelet_dir: Path, directory: Path
) -> None:
    async with SimulatedKubelet(kubelet_dir) as kubelet, registering(directory) as ours:
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        for _ in range(5):
            ours.registration.renew()
            await anyio.lowlevel.checkpoint()
        await eventually("registered again", lambda: kubelet.log.count(EventKind.REGISTERED) == 2)
        await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
        assert len(ours.streams) == 1


async def test_being_asked_cuts_a_pause_short(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise GRPCError(Status.UNKNOWN, "not today")

    monkeypatch.setattr(registration_module, "FIRST_BACK_OFF_SECONDS", 3600)
    monkeypatch.setattr(registration_module, "LONGEST_BACK_OFF_SECONDS", 3600)
    path = directory / "kubelet.sock"
    async with registering(directory) as ours, registry(path, refuse) as kubelet:
        await eventually("a call", lambda: kubelet.requests)
        await eventually("a pause", lambda: ours.registration._back_off_seconds == 3600)
        ours.registration.renew()
        await eventually("another call", lambda: len(kubelet.requests) == 2)


async def test_being_asked_while_there_is_no_kubelet_costs_no_work(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    look = Registration._look_for_kubelet

    def counted(self: Registration) -> Any:
        nonlocal looks
        looks += 1
        return look(self)

    monkeypatch.setattr(Registration, "_look_for_kubelet", counted)
    async with registering(directory) as ours:
        await eventually("our socket", lambda: ours.endpoint.in_place)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        before = looks
        ours.registration.renew()
        for _ in range(200):
            await anyio.lowlevel.checkpoint()
        assert looks <= before + 1


async def test_a_change_that_came_during_the_try_is_seen_though_nothing_tells_of_it_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take() -> None: ...

    async def lose() -> None:
        await anyio.sleep_forever()

    path = directory / "kubelet.sock"
    tries = 0
    call_register = Registration._call_register

    async def restart_meanwhile(self: Registration) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            # As a starting kubelet does; and the watch's word of it is lost with the try.
            self._endpoint.path.unlink()
            raise NoAnswer("Connection refused", 111)
        await call_register(self)

    monkeypatch.setattr(Registration, "_call_register", restart_meanwhile)
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 3600)
    monkeypatch.setattr(DirectoryWatch, "changed", lambda _: lose())
    async with registry(path, take) as kubelet, registering(directory):
        await eventually("a call", lambda: kubelet.requests, 5)


async def test_an_not_registered_reason_that_comes_back_after_a_success_is_told_again(
    kubelet_dir: Path, directory: Path
) -> None:
    with capture_logs() as logs:
        async with registering(directory), SimulatedKubelet(kubelet_dir) as kubelet:
            for _ in range(2):
                await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
                logs.clear()
                await kubelet.stop()
                await eventually("told", lambda: said(logs, "not_registered"))
                await kubelet.start()
            await kubelet.wait_for(lambda: kubelet.allocatable() == 3, 10)
