"""The slice in the API server is what the newest offer wants, whatever happens to either."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from teeplugin.dra import api_client, publisher
from teeplugin.dra.api_client import ApiClient
from teeplugin.dra.publisher import Budget, Publisher
from teeplugin.dra.resources import (
    FAULT_TAINT,
    NO_SCHEDULE,
    SHORTAGE_TAINT,
    Offer,
    Traits,
    slice_name,
)
from teeplugin.policy.decide import Cause
from tests.dra_api_server import FakeApiServer, api_server, node
from tests.dra_claims import POOL
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(30)]

UNIT = 512 * 1024
NAME = slice_name(POOL)
LIST = re.compile(r"^GET (?!.*watch=true).*fieldSelector")
OFFER = Offer(10, UNIT)
FAULT = Cause("unreachable", "no daemon", "start it")


class Unlimited(Budget):
    def wait_seconds(self, *, urgent: bool) -> float:
        del urgent
        return 0.0


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with api_server() as one:
        yield one


@asynccontextmanager
async def publishing(
    server: FakeApiServer,
    offer: Offer | None = OFFER,
    budget: Callable[[], Budget] = Unlimited,
    token_file: str | None = None,
    is_registered: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Publisher]:
    api = ApiClient(lambda: server.configuration(token_file))
    one = Publisher(
        api=api,
        node_name=POOL,
        traits=Traits,
        fault_effect=NO_SCHEDULE,
        is_registered=is_registered,
        budget=budget(),
    )
    one.want(offer)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.run)
        try:
            yield one
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await api.close()


def device(server: FakeApiServer) -> dict[str, Any]:
    found: dict[str, Any] = server.slices.get(NAME, {}).get("spec", {}).get("devices", [{}])[0]
    return found


def memory(server: FakeApiServer) -> str | None:
    found: str | None = device(server).get("capacity", {}).get("memory", {}).get("value")
    return found


def taints(server: FakeApiServer) -> list[str]:
    return [taint["key"] for taint in device(server).get("taints", ())]


async def published(server: FakeApiServer, value: str = "5Mi") -> None:
    await eventually("it is published", lambda: memory(server) == value)


async def watched(server: FakeApiServer) -> None:
    await eventually("it is watched", lambda: server.watches, until=(1).__eq__)


async def read_again(server: FakeApiServer, one: Publisher) -> None:
    """Have the slice compared three times."""
    for _ in range(3):
        seen = len(server.requests)
        one.want(one._offer)
        await eventually("it is read", partial(len, server.requests), until=seen.__lt__)


async def test_the_first_offer_is_published_once(server: FakeApiServer) -> None:
    async with publishing(server, None) as one:
        await anyio.lowlevel.checkpoint()
        assert not server.slices
        one.want(OFFER)
        await published(server)
        await watched(server)
        await read_again(server, one)
    assert server.publications == one.publications == 1
    assert (one.stored, one.node_problem) == (server.slices[NAME], None)


async def test_nothing_is_published_before_the_kubelet_knows_us(server: FakeApiServer) -> None:
    registered = False
    async with publishing(server, is_registered=lambda: registered) as one:
        await read_again(server, one)
        assert not server.slices
        registered = True
        one.look()
        await published(server)
        # What is stored stays true also while the kubelet restarts.
        registered = False
        one.want(Offer(7, UNIT))
        await published(server, "3584Ki")


async def test_a_fault_taints_and_its_end_untaints(server: FakeApiServer) -> None:
    async with publishing(server) as one:
        await published(server)
        uid = server.slices[NAME]["metadata"]["uid"]
        one.want(OFFER._replace(cause=FAULT))
        await eventually("tainted", lambda: taints(server) == [FAULT_TAINT])
        (taint,) = device(server)["taints"]
        one.want(Offer(7, UNIT, FAULT))
        await published(server, "3584Ki")
        assert device(server)["taints"] == [taint]
        one.want(Offer(0, UNIT))
        await eventually("short", lambda: taints(server) == [SHORTAGE_TAINT])
        assert memory(server) == "3584Ki"
        one.want(OFFER)
        await published(server)
        assert taints(server) == []
        assert server.slices[NAME]["metadata"]["uid"] == uid


async def test_a_deleted_or_changed_slice_is_back_at_once(server: FakeApiServer) -> None:
    async with publishing(server):
        await published(server)
        await watched(server)
        server.delete_slice(NAME)
        with anyio.fail_after(1):
            await published(server)
        server.change_slice(NAME, {"capacity": {"memory": {"value": "9Mi"}}})
        await published(server)


async def test_a_slice_that_goes_while_the_watch_restarts_is_back(server: FakeApiServer) -> None:
    async with publishing(server):
        await published(server)
        await watched(server)
        server.end_watches()
        server.delete_slice(NAME)
        with anyio.fail_after(1):
            await published(server)


async def test_a_watch_begins_where_the_slices_own_version_is_forgotten(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart of the API server: 410 for all versions before it."""
    monkeypatch.setattr(publisher, "FIRST_RETRY_SECONDS", 0.001)
    async with publishing(server):
        await published(server)
        await watched(server)
        server.forget_versions()
        seen = len(server.requests)
        server.end_watches()
        await eventually("it is listed", lambda: any(map(LIST.search, server.requests[seen:])))
        await watched(server)
        server.delete_slice(NAME)
        await published(server)
        assert sum("watch=true" in each for each in server.requests) <= 3


async def test_a_mute_watch_is_begun_anew(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_client, "WATCH_READ_SECONDS", 0.1)
    server.watches_are_mute = True
    async with publishing(server):
        await published(server)
        await watched(server)
        server.delete_slice(NAME)
        await published(server)


async def test_a_registration_and_a_reading_look_without_a_watch(server: FakeApiServer) -> None:
    server.watches_are_mute = True
    async with publishing(server) as one:
        await published(server)
        await watched(server)
        server.delete_slice(NAME)
        one.look()
        await published(server)
        server.delete_slice(NAME)
        one.want(OFFER)
        await published(server)


async def test_a_node_that_was_made_anew_is_the_owner(server: FakeApiServer) -> None:
    async with publishing(server):
        await published(server)
        await watched(server)
        server.nodes[POOL] = node("uid-of-its-successor")
        server.delete_slice(NAME)
        await published(server)
        (owner,) = server.slices[NAME]["metadata"]["ownerReferences"]
        assert owner["uid"] == "uid-of-its-successor"


@pytest.mark.parametrize("gate", ["DRAConsumableCapacity", "DRADeviceTaints"])
async def test_a_gate_that_is_off_is_named_and_nothing_is_served(
    server: FakeApiServer, gate: str
) -> None:
    server.gates_off = {gate}
    with capture_logs() as logs:
        async with publishing(server) as one:
            await eventually(
                "the problem", lambda: one.problem, until=lambda it: gate in (it or "")
            )
            assert server.publications == 0
            server.gates_off.clear()
            one.look()
            await published(server)
            assert one.problem is None
            server.gates_off = {gate}
            one.look()
            await eventually("the slice is gone", lambda: not server.slices)
    events = [log["event"] for log in logs]
    assert events.count("node_not_served") == 2
    assert events.count("node_served_again") == 1


async def test_a_runtime_without_cdi_is_not_served(server: FakeApiServer) -> None:
    server.nodes[POOL] = node("uid", "containerd://1.6.20")
    async with publishing(server) as one:
        await eventually(
            "the problem", lambda: one.problem, until=lambda it: "containerd://1.6.20" in (it or "")
        )
        assert one.node_problem == one.problem
        assert not server.slices


async def test_the_api_server_may_be_away(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(publisher, "LONGEST_RETRY_SECONDS", 0.05)
    with capture_logs() as logs:
        async with publishing(server) as one:
            await published(server)
            await watched(server)
            await server.stop()
            one.want(OFFER._replace(cause=FAULT))
            await eventually("it failed often", lambda: one.failures, until=(5).__le__)
            server.slices.clear()
            await server.start()
            await eventually("tainted", lambda: taints(server) == [FAULT_TAINT])
            await eventually("no error", lambda: one.error, until=lambda it: it is None)
            await watched(server)
            server.delete_slice(NAME)
            await published(server)
    events = [log["event"] for log in logs]
    assert events.count("api_server_failed") == 1
    assert events.count("api_server_recovered") == 1


async def test_a_token_that_was_rotated_is_read_again(server: FakeApiServer, here: Path) -> None:
    token = here / "token"
    token.write_text("first")
    server.tokens = {"first"}
    async with publishing(server, token_file=str(token)) as one:
        await published(server)
        token.write_text("second")
        server.tokens = {"second"}
        one.want(Offer(7, UNIT))
        await published(server, "3584Ki")
        assert one.failures == 0


async def test_an_overloaded_api_server_is_left_alone_as_long_as_it_asks(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FIRST_RETRY_SECONDS", 0.01)
    server.status, server.retry_after = 429, "3600"
    async with publishing(server) as one:
        await eventually("it failed", lambda: one.failures, until=(1).__eq__)
        seen = len(server.requests)
        for _ in range(20):
            one.want(OFFER)
            await anyio.sleep(0.005)
        assert len(server.requests) == seen


async def test_a_watch_that_is_refused_leaves_the_rounds(
    server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "FIRST_RETRY_SECONDS", 0.001)
    server.refuses_watches = True
    with capture_logs() as logs:
        async with publishing(server) as one:
            await published(server)
            await eventually(
                "it is reported", lambda: [log["event"] for log in logs].count("slice_not_watched")
            )
            one.want(Offer(7, UNIT))
            await published(server, "3584Ki")


async def test_what_a_webhook_alters_is_told_and_not_fought(server: FakeApiServer) -> None:
    server.alters = {"attributes": {"altered": {"bool": True}}}
    with capture_logs() as logs:
        async with publishing(server) as one:
            await published(server)
            await watched(server)
            await read_again(server, one)
    assert [log["event"] for log in logs].count("slice_altered") == 1
    assert server.publications == 1


async def test_a_fault_before_the_first_reading_taints_what_is_stored(
    server: FakeApiServer,
) -> None:
    async with publishing(server, Offer(0, UNIT, FAULT, is_known=False)) as one:
        await read_again(server, one)
        assert not server.slices
        one.want(OFFER)
        await published(server)
        one.want(Offer(0, UNIT, FAULT, is_known=False))
        await eventually("tainted", lambda: taints(server) == [FAULT_TAINT])
        assert memory(server) == "5Mi"
