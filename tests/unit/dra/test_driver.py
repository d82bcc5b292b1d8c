"""The driver behind its sockets, as a kubelet with another gRPC library meets it."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
import grpc
import grpc.aio
import pytest
from structlog.testing import capture_logs

from teeplugin.api.drahealth import v1alpha1
from teeplugin.dra import registration as registration_module
from teeplugin.dra.claims import ClaimRef
from teeplugin.dra.driver import ClaimUnreadableError
from teeplugin.dra.registration import driver_directory, registry_directory
from teeplugin.dra.resources import DEVICE, DRIVER
from teeplugin.kubelet.grpc_server import END_SECONDS
from teeplugin.policy.decide import Cause
from tests.dra_claims import POOL, claim, reference, result
from tests.dra_kubelet import DraKubelet, dra_kubelet
from tests.unit.dra.served_driver import Instance, registered, running
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

UNIT = 512 * 1024
FAULT = Cause("unreachable", "no daemon", "start it")


@pytest.fixture
async def kubelet(kubelet_dir: Path) -> AsyncIterator[DraKubelet]:
    async with dra_kubelet(kubelet_dir) as one:
        yield one


@pytest.fixture
async def instance(kubelet_dir: Path, kubelet: DraKubelet) -> AsyncIterator[Instance]:
    async with running(kubelet_dir) as one:
        await registered(kubelet)
        yield one


async def test_the_kubelet_learns_what_is_served_and_where(
    instance: Instance, kubelet: DraKubelet, kubelet_dir: Path
) -> None:
    (info,) = kubelet.infos.values()
    assert (info.type, info.name) == ("DRAPlugin", DRIVER)
    assert Path(info.endpoint).parent == driver_directory(kubelet_dir)
    assert info.supported_versions == [
        "v1.DRAPlugin",
        "v1.DRAResourceHealth",
        "v1alpha1.DRAResourceHealth",
    ]
    assert instance.registrations == 1
    assert instance.registration.status.not_registered_reason is None
    (directory,) = {path.parent for path in kubelet.infos}
    assert directory == registry_directory(kubelet_dir)


async def test_a_claim_is_prepared_with_its_amount(instance: Instance, kubelet: DraKubelet) -> None:
    one = reference("one")
    instance.claims["one"] = claim(one.uid, result("5Mi"), result("512Ki", request="b"))
    (answer,) = (await kubelet.prepare(one)).values()
    assert not answer.error
    (device,) = answer.devices
    assert device.request_names == ["tee", "b"]
    assert (device.pool_name, device.device_name) == (POOL, DEVICE)
    assert device.cdi_device_ids == ["tee.huawei.com/units=11"]
    assert device.share_id == "s-1"
    assert [len(ids) for ids in instance.allocated] == [11]


async def test_preparing_again_reads_no_claim_and_answers_the_same(
    instance: Instance, kubelet: DraKubelet
) -> None:
    one = reference("one")
    instance.claims["one"] = claim(one.uid)
    first = await kubelet.prepare(one)
    instance.claims["one"] = ClaimUnreadableError("the API server is away")
    assert await kubelet.prepare(one) == first
    assert instance.reads == ["default/one"]
    assert instance.allocated[0] == instance.allocated[1]
    await kubelet.unprepare(one)
    (answer,) = (await kubelet.prepare(one)).values()
    assert "away" in answer.error


async def test_each_claim_has_an_answer_of_its_own(instance: Instance, kubelet: DraKubelet) -> None:
    good, stale, away = reference("good"), reference("stale"), reference("away")
    instance.claims = {
        "good": claim(good.uid),
        "stale": claim("another"),
        "away": ClaimUnreadableError("the API server is away: it is asked again"),
    }
    with capture_logs() as logs:
        for _ in range(2):
            answers = await kubelet.prepare(good, stale, away)
    assert not answers[good.uid].error
    assert "deleted and created again" in answers[stale.uid].error
    assert answers[away.uid].error == "the API server is away: it is asked again"
    told = [log["claim"] for log in logs if log["event"] == "claim_not_prepared"]
    assert told == ["stale", "away"]
    counted = {"ok": 2, "refused": 2, "fault": 0, "api_error": 2}
    assert instance.driver.preparations == counted


async def test_a_node_whose_runtime_would_leave_the_tee_out_prepares_nothing(
    instance: Instance, kubelet: DraKubelet
) -> None:
    instance.problem = "the node's runtime is containerd://1.6.20"
    instance.claims["one"] = claim("uid-one")
    (answer,) = (await kubelet.prepare(reference("one"))).values()
    assert answer.error == instance.problem
    assert not instance.reads


async def test_a_fault_holds_up_new_claims_and_no_prepared_one(
    instance: Instance, kubelet: DraKubelet
) -> None:
    old, new = reference("old"), reference("new")
    instance.claims = {"old": claim(old.uid), "new": claim(new.uid)}
    await kubelet.prepare(old)
    instance.cause.set(FAULT)
    answers = await kubelet.prepare(old, new)
    assert not answers[old.uid].error
    assert answers[new.uid].error == "no daemon"
    instance.cause.set(None)
    assert not (await kubelet.prepare(new))[new.uid].error


async def test_unprepare_is_never_refused(instance: Instance, kubelet: DraKubelet) -> None:
    unknown = ClaimRef("default", "of-another-instance", "1")
    instance.problem = "no CDI"
    (answer,) = (await kubelet.unprepare(unknown)).values()
    assert not answer.error
    assert instance.driver.unpreparations == 1


async def test_many_claims_of_one_pod_fit_a_request(
    instance: Instance, kubelet: DraKubelet
) -> None:
    references = [reference(f"{number:0200}") for number in range(100)]
    instance.claims = {each.name: claim(each.uid, result("512Ki")) for each in references}
    answers = await kubelet.prepare(*references)
    assert len(answers) == 100
    assert not any(answer.error for answer in answers.values())


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
async def test_health_follows_the_fault_with_its_words(
    instance: Instance, kubelet: DraKubelet, version: str
) -> None:
    async with aclosing(kubelet.health(version)) as watch:  # type: ignore[type-var]
        first = await anext(watch)
        assert first.health == v1alpha1.HealthStatus.HEALTHY
        assert first.device == v1alpha1.DeviceIdentifier(pool_name=POOL, device_name=DEVICE)
        assert first.health_check_timeout_seconds == 30
        instance.cause.set(FAULT)
        faulty = await anext(watch)
        assert faulty.health == v1alpha1.HealthStatus.UNHEALTHY
        assert faulty.message == "no daemon: start it"
        instance.cause.set(None)
        assert (await anext(watch)).health == v1alpha1.HealthStatus.HEALTHY


async def test_health_is_repeated_before_the_kubelet_takes_it_for_unknown(
    instance: Instance, kubelet: DraKubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert instance.registrations
    monkeypatch.setattr("teeplugin.dra.health.REPEAT_SECONDS", 0.01)
    async with aclosing(kubelet.health("v1")) as watch:  # type: ignore[type-var]
        for _ in range(3):
            assert (await anext(watch)).health == v1alpha1.HealthStatus.HEALTHY


async def test_a_successor_registers_beside_an_older_instance(
    instance: Instance, kubelet: DraKubelet, kubelet_dir: Path
) -> None:
    async with running(kubelet_dir) as successor:
        await registered(kubelet, 2)
        successor.claims["one"] = claim("uid-one")
        (answer,) = (await kubelet.prepare(reference("one"))).values()
        assert not answer.error
        assert not instance.reads
    await registered(kubelet, 1)
    instance.claims["two"] = claim("uid-two")
    (answer,) = (await kubelet.prepare(reference("two"))).values()
    assert not answer.error


async def test_what_a_killed_instance_left_is_removed(
    kubelet: DraKubelet, kubelet_dir: Path
) -> None:
    dead = [driver_directory(kubelet_dir), registry_directory(kubelet_dir)]
    for directory in dead:
        directory.mkdir(parents=True, exist_ok=True)
        killed = await anyio.create_unix_listener(directory / "tee-ram-dead.sock")
        await killed.aclose()
    async with running(kubelet_dir):
        await registered(kubelet)
        for directory in dead:
            assert len(list(directory.iterdir())) == 1
    for directory in dead:
        assert not list(directory.iterdir())


@pytest.mark.parametrize("directory", [registry_directory, driver_directory])
async def test_sockets_that_are_deleted_are_made_again(
    instance: Instance,
    kubelet_dir: Path,
    directory: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 0.05)
    instance.registration.renew()
    await eventually("registered again", lambda: instance.registrations, until=(2).__eq__)
    (socket,) = directory(kubelet_dir).iterdir()
    socket.unlink()
    await eventually("registered again", lambda: instance.registrations, until=(3).__eq__)
    assert instance.registration.in_place


async def test_a_refusal_is_told_with_the_kubelets_words(
    kubelet: DraKubelet, kubelet_dir: Path
) -> None:
    kubelet.refuses = "no"
    async with running(kubelet_dir) as one:
        status = one.registration.status
        reason = "the kubelet refused the registration: no"
        await eventually("refused", lambda: status.not_registered_reason, until=reason.__eq__)


async def test_an_instance_without_the_kubelets_directory_waits_for_it(kubelet_dir: Path) -> None:
    async with running(kubelet_dir) as one:
        status = one.registration.status
        await eventually(
            "the reason is reported",
            lambda: status.not_registered_reason,
            until=lambda reason: "there is no directory" in (reason or ""),
        )
        async with dra_kubelet(kubelet_dir) as kubelet:
            await registered(kubelet)


async def test_a_kubelet_that_overlooked_the_socket_gets_another(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "UNREGISTERED_SECONDS", 0.05)
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 0.05)
    registry = registry_directory(kubelet_dir)
    registry.mkdir()
    async with running(kubelet_dir):
        seen: set[str] = set()

        def names() -> int:
            seen.update(path.name for path in registry.iterdir())
            return len(seen)

        await eventually("two names", names, until=(2).__le__)


async def test_the_end_of_the_kubelets_connection_is_noticed(
    kubelet_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration_module, "LOOK_SECONDS", 0.05)
    async with dra_kubelet(kubelet_dir) as kubelet, running(kubelet_dir) as one:
        await registered(kubelet)
        registration = one.registration
        await eventually("the connection is seen", lambda: registration._seen_connected)
        await kubelet.close()
        one.claims = {}
        await eventually("registered again", lambda: one.registrations, until=(2).__le__)


async def test_open_streams_do_not_hold_up_the_end(kubelet_dir: Path) -> None:
    async with dra_kubelet(kubelet_dir) as kubelet:
        async with running(kubelet_dir):
            await registered(kubelet)
            watch = kubelet.health("v1")
            await anext(watch)
            began = monotonic()
        assert monotonic() - began < END_SECONDS
        assert not list(registry_directory(kubelet_dir).iterdir())


async def test_bytes_that_are_no_request_are_refused(
    instance: Instance, kubelet: DraKubelet
) -> None:
    method = kubelet._newest().unary_unary(
        "/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/NodePrepareResources"
    )
    for data, status in (
        (b"\x0a", grpc.StatusCode.INVALID_ARGUMENT),
        (bytes(65_537), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(data)
        assert caught.value.code() is status
    assert not instance.reads
