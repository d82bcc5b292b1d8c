"""The simulated kubelet keeps the promises that a real one was seen to keep."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from teeplugin.api.deviceplugin import v1beta1 as api
from teeplugin.api.podresources import v1 as pods
from teeplugin.simulator import (
    MODERN,
    NEWEST,
    OLD,
    AdmissionError,
    ContainerStartError,
    EventKind,
    Profile,
    SimulatedKubelet,
)
from teeplugin.simulator.registration_server import is_extended_resource_name
from tests.unit.simulator.stub_plugin import RESOURCE, Plugin, frame, serving

pytestmark = pytest.mark.anyio
QUICK = replace(MODERN, dial_deadline_seconds=0.05, dial_retry_seconds=0.01)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def registered(
    directory: Path, profile: Profile = MODERN, units: int = 64
) -> AsyncIterator[tuple[SimulatedKubelet, Plugin]]:
    async with SimulatedKubelet(directory, profile=profile) as kubelet, serving(kubelet) as plugin:
        await plugin.register()
        await plugin.listed(frame(range(units)))
        yield kubelet, plugin


@asynccontextmanager
async def lister(kubelet: SimulatedKubelet) -> AsyncIterator[pods.PodResourcesListerStub]:
    async with Channel(path=str(kubelet.pod_resources_socket)) as channel:
        yield pods.PodResourcesListerStub(channel)


async def test_a_plugin_is_dialled_while_it_registers(tmp_path: Path) -> None:
    async with SimulatedKubelet(tmp_path) as kubelet, serving(kubelet) as plugin:
        await plugin.register()
        assert plugin.calls == ["options"]
        assert kubelet.capacity() == 0
        await plugin.listed(frame(range(3), range(3, 5)))
        assert (kubelet.capacity(), kubelet.allocatable()) == (5, 3)
        assert kubelet.healthy_ids() == {"0", "1", "2"}
        last = kubelet.events[-1]
        assert (last.healthy, last.unhealthy, last.list_bytes) == (3, 2, 74)


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("version", "v1alpha", 'requested API version "v1alpha" is not supported by kubelet'),
        ("resource_name", "tee-ram", 'the ResourceName "tee-ram" is invalid'),
        ("endpoint", "/run/p.sock", "failed to dial device plugin"),
        ("endpoint", "../p.sock", "failed to dial device plugin"),
        ("endpoint", "gone.sock", "failed to dial device plugin: context deadline exceeded"),
    ],
)
async def test_a_wrong_registration_is_refused_with_its_reason(
    tmp_path: Path, field: str, value: str, text: str
) -> None:
    async with SimulatedKubelet(tmp_path, profile=QUICK) as kubelet, serving(kubelet) as plugin:
        with pytest.raises(GRPCError, match=re.escape(text)) as caught:
            await plugin.register(**{field: value})
        assert caught.value.status is Status.UNKNOWN
        assert kubelet.log.count(EventKind.REGISTRATION_REFUSED) == 1


@pytest.mark.parametrize("name", ["a/b", "requests.a.b/c", "kubernetes.io/x", "A.b/c", "a.b/c/d"])
def test_only_vendor_names_are_taken(name: str) -> None:
    assert is_extended_resource_name(name) is (name == "a/b")


async def test_a_missing_options_call_is_fatal_but_not_for_an_old_kubelet(tmp_path: Path) -> None:
    async with SimulatedKubelet(tmp_path) as kubelet, serving(kubelet) as plugin:
        plugin.options = None
        with pytest.raises(GRPCError, match="failed to get device plugin options"):
            await plugin.register()
    async with SimulatedKubelet(tmp_path, profile=OLD) as kubelet, serving(kubelet) as plugin:
        plugin.options = None
        await plugin.register(frame(range(4)))
        await kubelet.wait_for(lambda: kubelet.allocatable() == 4, 5)
        assert not plugin.calls


async def test_pods_get_ids_and_what_allocate_answered(tmp_path: Path) -> None:
    async with registered(tmp_path) as (kubelet, plugin):
        first = await kubelet.admit("a", 10)
        both = await kubelet.admit("b", containers={"x": 4, "y": 50})
        assert set(first.envs["IDS"].split(",")) == first.ids
        assert first.mounts[0].read_only
        assert len(first.ids) == 10
        assert not first.ids & both.ids
        assert plugin.calls == ["options", "allocate 1", "allocate 1", "allocate 1"]
        assert kubelet.allocated() == {"a": first.ids, "b": both.ids}
        assert kubelet.allocatable() == 64
        await kubelet.remove("b")
        assert len(kubelet.free_ids()) == 54


async def test_refusals_are_worded_as_the_kubelets(tmp_path: Path) -> None:
    async def fail() -> None:
        raise GRPCError(Status.FAILED_PRECONDITION, "the TEE is away")

    async with registered(tmp_path) as (kubelet, plugin):
        with pytest.raises(AdmissionError) as caught:
            await kubelet.admit("big", containers={"x": 60, "y": 5})
        assert caught.value.reason == "UnexpectedAdmissionError"
        assert caught.value.message == (
            "Allocate failed due to requested number of devices unavailable for "
            f"{RESOURCE}. Requested: 5, Available: 4, which is unexpected"
        )
        plugin.on_allocate = fail
        with pytest.raises(
            AdmissionError, match="code = FailedPrecondition desc = the TEE is away"
        ):
            await kubelet.admit("a", 1)
        with pytest.raises(AdmissionError, match=r"unregistered device a\.b/c"):
            await kubelet.admit("a", 1, resource="a.b/c")
        await plugin.listed(frame(range(0), range(64)))
        with pytest.raises(AdmissionError, match="no healthy devices present"):
            await kubelet.admit("a", 1)
        assert not kubelet.allocated()


async def test_a_lost_stream_makes_all_unhealthy_and_later_takes_capacity(tmp_path: Path) -> None:
    profile = replace(MODERN, capacity_grace_seconds=0.1)
    async with registered(tmp_path, profile) as (kubelet, plugin):
        plugin.lists.put_nowait(None)
        await kubelet.wait_for(lambda: kubelet.allocatable() == 0, 5)
        assert kubelet.events[-1].kind is EventKind.STREAM_ENDED
        with pytest.raises(AdmissionError, match="no healthy devices"):
            await kubelet.admit("a", 1)
        await kubelet.wait_for(lambda: kubelet.capacity() == 0, 5)
        await plugin.register(frame(range(64)))
        await kubelet.wait_for(lambda: kubelet.allocatable() == kubelet.capacity() == 64, 5)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0a\x06\x0a\x04\xff\xfe\xfd\xfc", "UTF-8"),
        (b"\x0a\x30\x0a", "cut off"),
        (frame(range(226_600), range(226_600, 226_601)), "larger than max"),
    ],
)
async def test_a_bad_list_breaks_the_stream(tmp_path: Path, data: bytes, reason: str) -> None:
    async with registered(tmp_path) as (kubelet, plugin):
        plugin.lists.put_nowait(data)
        await kubelet.wait_for(lambda: kubelet.allocatable() == 0, 20)
        assert reason in kubelet.events[-1].text


async def test_only_the_exact_word_is_healthy(tmp_path: Path) -> None:
    async with registered(tmp_path) as (kubelet, plugin):
        await plugin.listed(frame(range(1), range(1, 2), "healthy") + b"\x0a\x03\x0a\x012")
        assert (kubelet.capacity(), kubelet.allocatable()) == (3, 1)


@pytest.mark.parametrize("race", [True, False])
async def test_an_older_streams_end_drops_the_newer_client(tmp_path: Path, *, race: bool) -> None:
    profile = replace(MODERN, drops_newer_on_old_stream_end=race)
    async with registered(tmp_path, profile) as (kubelet, old), serving(kubelet, "n.sock") as new:
        await new.register()
        await new.listed(frame(range(8)))
        old.lists.put_nowait(None)
        await kubelet.wait_for(lambda: kubelet.log.count(EventKind.STREAM_ENDED) == 1 + race, 5)
        assert kubelet.allocatable() == (0 if race else 8)


async def test_a_socket_that_is_connected_is_refused_and_never_forgotten(tmp_path: Path) -> None:
    async with registered(tmp_path, NEWEST) as (kubelet, plugin):
        await plugin.listed(frame(range(8)))
        for _ in range(2):
            with pytest.raises(GRPCError, match="device plugin already connected"):
                await plugin.register()
        plugin.lists.put_nowait(None)
        await kubelet.wait_for(lambda: kubelet.log.count(EventKind.STREAM_ENDED) == 1, 5)
        # It takes the units of a plugin that is gone for healthy ones.
        assert kubelet.allocatable() == 8
        with pytest.raises(GRPCError, match="device plugin already connected"):
            await plugin.register()


@pytest.mark.parametrize("abrupt", [True, False])
async def test_pods_keep_their_ids_over_a_restart(tmp_path: Path, *, abrupt: bool) -> None:
    async with registered(tmp_path) as (kubelet, plugin):
        allocated = (await kubelet.admit("a", 10)).ids
        await (kubelet.kill() if abrupt else kubelet.stop())
        assert kubelet.socket.exists()
        kubelet.profile = replace(MODERN, sources_ready_seconds=60)
        await kubelet.start()
        assert [path.name for path in kubelet.device_plugins_dir.iterdir() if path.is_socket()] == [
            "kubelet.sock"
        ]
        assert (kubelet.capacity(), kubelet.allocated()) == (0, {"a": allocated})
        async with lister(kubelet) as stub:
            assert (await stub.list()).pod_resources == []
        async with serving(kubelet, "n.sock") as new:
            await new.register()
            await new.listed(frame(range(64)))
            assert len(kubelet.free_ids()) == 54
            assert (await kubelet.restart_container("a")).ids == allocated
        del plugin


@pytest.mark.parametrize(("profile", "kept"), [(MODERN, ["d", "f"]), (OLD, ["d"])])
async def test_a_start_clears_the_directory(
    tmp_path: Path, profile: Profile, kept: list[str]
) -> None:
    directory = tmp_path / "device-plugins"
    (directory / "d").mkdir(parents=True)
    (directory / "f").write_text("")
    async with SimulatedKubelet(tmp_path, profile=profile) as kubelet:
        await kubelet.kill()
    async with SimulatedKubelet(tmp_path, profile=profile) as kubelet:
        assert sorted(path.name for path in directory.iterdir()) == [*kept, "kubelet.sock"]
        assert kubelet.pod_resources_socket.exists() is (profile is MODERN)


async def test_a_dial_between_bind_and_listen_is_refused(tmp_path: Path) -> None:
    kubelet = SimulatedKubelet(tmp_path, profile=replace(OLD, listen_delay_seconds=0.1))
    start = asyncio.create_task(kubelet.start())
    await asyncio.sleep(0)
    assert kubelet.socket.is_socket()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(kubelet.socket)
    await start
    _, writer = await asyncio.open_unix_connection(kubelet.socket)
    writer.close()
    await writer.wait_closed()
    await kubelet.stop()


async def test_pod_resources_show_pods_after_allocate_one_entry_a_device(tmp_path: Path) -> None:
    async with registered(tmp_path) as (kubelet, plugin), lister(kubelet) as stub:

        async def nothing_listed_yet() -> None:
            assert (await stub.list()).pod_resources == []

        plugin.on_allocate = nothing_listed_yet
        ids = (await kubelet.admit("a", 3, namespace="ns", container="c")).ids
        assert kubelet.allocated() == {"ns/a": ids}
        (pod,) = (await stub.list()).pod_resources
        assert (pod.namespace, pod.name, pod.containers[0].name) == ("ns", "a", "c")
        assert {one.device_ids[0] for one in pod.containers[0].devices} == ids
        found = await stub.get(pods.GetPodResourcesRequest(pod_name="a", pod_namespace="ns"))
        assert found.pod_resources == pod
        assert len((await stub.get_allocatable_resources()).devices) == 64
        with pytest.raises(GRPCError, match="pod b in namespace ns not found"):
            await stub.get(pods.GetPodResourcesRequest(pod_name="b", pod_namespace="ns"))


async def test_announced_calls_are_made(tmp_path: Path) -> None:
    async with SimulatedKubelet(tmp_path) as kubelet, serving(kubelet) as plugin:
        plugin.options = api.DevicePluginOptions(True, True)
        await plugin.register()
        await plugin.listed(frame(range(9)))
        assert (await kubelet.admit("a", 2)).ids == {"0", "1"}
        assert plugin.calls[-1] == "pre-start 2"
        await plugin.listed(frame(range(1, 9), range(1)))
        with pytest.raises(ContainerStartError, match="no longer healthy"):
            await kubelet.restart_container("a")


async def test_a_hung_allocate_stops_all_admission_and_cancelling_it_frees(tmp_path: Path) -> None:
    called = asyncio.Event()

    async def hang() -> None:
        called.set()
        await asyncio.Event().wait()

    async with registered(tmp_path) as (kubelet, plugin):
        plugin.on_allocate = hang
        hung = asyncio.create_task(kubelet.admit("a", 60))
        waiting = asyncio.create_task(kubelet.admit("b", 60))
        await called.wait()
        assert len(kubelet.free_ids()) == 4
        assert plugin.calls == ["options", "allocate 1"]
        plugin.on_allocate = None
        hung.cancel()
        assert len((await waiting).ids) == 60
        assert list(kubelet.allocated()) == ["b"]


async def test_the_longest_list_is_taken(tmp_path: Path) -> None:
    async with registered(tmp_path) as (kubelet, plugin):
        data = frame(range(226_600))
        started = time.monotonic()
        await plugin.listed(data)
        print(f"{len(data)} bytes taken in {time.monotonic() - started:.2f} s")
        assert kubelet.allocatable() == 226_600


async def test_a_frozen_kubelet_takes_connections_and_answers_once_it_is_thawed(
    tmp_path: Path,
) -> None:
    async with registered(tmp_path) as (kubelet, plugin), lister(kubelet) as before:
        await before.list(pods.ListPodResourcesRequest())
        kubelet.freeze()
        plugin.lists.put_nowait(frame(range(65)))
        waiting: list[asyncio.Task[object]] = [asyncio.create_task(kubelet.admit("pod", 1))]
        async with lister(kubelet) as new:
            for records in (before, new):
                with pytest.raises(TimeoutError):
                    await records.list(pods.ListPodResourcesRequest(), timeout=0.1)
            waiting.append(asyncio.create_task(plugin.register()))
            with pytest.raises(TimeoutError):
                await records.list(pods.ListPodResourcesRequest(), timeout=0.1)
            assert (kubelet.allocatable(), [each.done() for each in waiting]) == (64, [False] * 2)
            kubelet.thaw()
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
            await records.list(pods.ListPodResourcesRequest(), timeout=10)
        assert kubelet.log.count(EventKind.REGISTERED) == 2
        await kubelet.wait_for(lambda: kubelet.allocatable() == 65, 10)
