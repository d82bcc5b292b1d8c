"""Calls to servers that answer against the rules: each comes to one of our errors, and no more."""

import asyncio
import socket
from functools import partial
from pathlib import Path

import anyio
import pytest
from grpclib import Status
from structlog.testing import capture_logs

from teeplugin.api.podresources import v1
from teeplugin.kubelet import pod_resources_client
from teeplugin.kubelet import registration as registration_module
from teeplugin.kubelet.grpc_client import CallError, CallRefused, CallTimedOut, NoAnswer, call
from teeplugin.kubelet.pod_resources_answer import holders_in
from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.policy.device_list import IdSet
from tests.fake_grpc_peer import ODD_ANSWERS, Shape, answers, fake_peer, message
from tests.in_process import registering
from tests.unit.kubelet.registry import said
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

METHOD = "/some.Service/Method"
RESOURCE = "huawei.com/tee-ram"

each_shape = pytest.mark.parametrize("shape", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())


@pytest.fixture
def path(kubelet_dir: Path) -> Path:
    return kubelet_dir / "peer.sock"


async def failed(path: Path, seconds: float = 0.3) -> CallError:
    with pytest.raises(CallError) as caught:
        await call(path, METHOD, b"", seconds)
    return caught.value


async def test_a_good_answer_is_given_as_bytes(path: Path) -> None:
    async with fake_peer(path, answers(message(b"abc"))):
        assert await call(path, METHOD, b"", 10) == b"abc"
    async with fake_peer(path, answers(message(b""))):
        assert await call(path, METHOD, b"", 10) == b""


@each_shape
async def test_whatever_else_is_answered_is_an_error_of_ours_with_a_text(
    path: Path, shape: Shape
) -> None:
    task = asyncio.current_task()
    assert task is not None
    async with fake_peer(path, shape):
        assert str(await failed(path))
        # Else the task would count as one that is being cancelled, for ever.
        assert task.cancelling() == 0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("OK without a message", "it answered OK without a message"),
        ("a message cut short", "its answer was truncated"),
        ("a compressed message", "it answered with a compressed message"),
        ("no HTTP status", "its answer breaks gRPC's rules: KeyError: ':status'"),
        ("a reset", "it ended the call: Stream reset by remote party"),
    ],
)
async def test_what_is_wrong_with_an_answer_is_told(path: Path, answer: str, text: str) -> None:
    async with fake_peer(path, ODD_ANSWERS[answer]):
        error = await failed(path)
    assert isinstance(error, NoAnswer)
    assert str(error).startswith(text)


async def test_a_refusal_has_its_status_and_text(path: Path) -> None:
    async with fake_peer(path, ODD_ANSWERS["a refusal"]):
        error = await failed(path)
    assert isinstance(error, CallRefused)
    assert (error.status, str(error)) == (Status.UNKNOWN, "not today")


async def test_nobody_there_is_told_with_the_systems_number(path: Path) -> None:
    missing = await failed(path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        refuses = await failed(path)
    assert isinstance(missing, NoAnswer)
    assert isinstance(refuses, NoAnswer)
    assert (str(missing), missing.errno) == ("No such file or directory", 2)
    assert (str(refuses), refuses.errno) == ("Connection refused", 111)


async def test_who_accepts_and_says_nothing_is_given_up_at_the_deadline(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        error = await failed(path, 0.05)
    assert isinstance(error, CallTimedOut)
    assert str(error) == "no answer within 0.05 s"


async def test_a_connection_closed_at_once_is_told_as_that(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)

        async def hang_up() -> None:
            await anyio.wait_readable(listener)
            listener.accept()[0].close()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hang_up)
            assert isinstance(await failed(path, 10), NoAnswer)


async def test_an_attribute_error_of_our_own_is_not_told_as_a_closed_connection(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object) -> None:
        raise AttributeError("surprise", name="x", obj=object())

    monkeypatch.setattr("teeplugin.kubelet.grpc_client._Bytes.encode", buggy)
    async with fake_peer(path, answers(message(b""))):
        assert "AttributeError: surprise" in str(await failed(path))


async def test_a_cancelled_call_is_no_error_of_the_peers(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        with anyio.move_on_after(0.05) as scope:
            await call(path, METHOD, b"", 10)
    assert scope.cancelled_caught


@each_shape
async def test_register_outlives_every_answer(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch, shape: Shape
) -> None:
    monkeypatch.setattr(registration_module, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(registration_module, "PENDING_SECONDS", 0.2)
    directory = kubelet_dir / "device-plugins"
    with capture_logs() as logs:
        async with (
            registering(directory) as ours,
            fake_peer(directory / "kubelet.sock", shape) as kubelet,
        ):
            await eventually("two calls", lambda: kubelet.calls >= 2)
            assert ours.registration.status.not_registered_reason
    assert not [entry for entry in logs if entry["event"] == "registered"]


@each_shape
async def test_the_pod_resources_outlives_every_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch, shape: Shape
) -> None:
    monkeypatch.setattr(pod_resources_client, "CALL_SECONDS", 0.2)
    monkeypatch.setattr(pod_resources_client, "UNREADABLE_SECONDS", 0.05)
    pod_resources = PodResourcesClient(
        socket=path, read=partial(holders_in, resource_name=RESOURCE)
    )
    devices = v1.ContainerDevices(RESOURCE, ["7"])
    pod = v1.PodResources("pod", "ns", [v1.ContainerResources("main", [devices])])
    with capture_logs() as logs:
        async with fake_peer(path, shape) as kubelet:
            with anyio.fail_after(10):
                while not said(logs, "pod_resources_unreadable"):
                    assert not await pod_resources.refresh()
            assert not pod_resources.reads.readable
            kubelet.shape = answers(message(bytes(v1.ListPodResourcesResponse([pod]))))
            assert await pod_resources.refresh()
    assert pod_resources.allocated == IdSet.of([7])
    told = [entry["event"] for entry in logs if entry["event"].startswith("pod_resources")]
    assert told == ["pod_resources_unreadable", "pod_resources_readable"]


async def test_bytes_that_are_no_answer_of_pod_resources_are_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_resources_client, "UNREADABLE_SECONDS", 0)
    pod_resources = PodResourcesClient(
        socket=path, read=partial(holders_in, resource_name=RESOURCE)
    )
    with capture_logs() as logs:
        async with fake_peer(path, answers(message(b"\x0a\x05abc"))):
            assert not await pod_resources.refresh()
    assert "5 bytes are not a PodResources answer" in logs[0]["error"]
