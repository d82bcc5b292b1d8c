"""The poller while pods come and go: shortage is shown, and units follow Allocate at once."""

from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from teeplugin.kubelet.pod_resources_client import PodResourcesClient
from teeplugin.policy.allocation_records import Holder
from teeplugin.policy.device_list import DeviceList, IdSet
from teeplugin_backends.base import TeeMemory, TimedOut
from tests.unit.tee.watched_poller import UNIT, Watched, events, watched
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TOTAL = 8
ALL = IdSet.first(TOTAL)
HALF = TeeMemory(total_bytes=TOTAL * UNIT, free_bytes=4 * UNIT)
FULL = TeeMemory(total_bytes=TOTAL * UNIT, free_bytes=TOTAL * UNIT)


class PlayedPodResources(PodResourcesClient):
    """Allocation records as a test has them: `held` at each look, one entry after the other.

    The last entry stays.
    """

    def __init__(self) -> None:
        super().__init__(socket=Path("unread"), read=lambda _: iter(()))
        self.held: list[IdSet] = [IdSet()]
        self.looks = 0

    async def _list(self) -> tuple[Holder, ...]:
        self.looks += 1
        ids = self.held.pop(0) if len(self.held) > 1 else self.held[0]
        return (Holder("default", f"pod-{ids.end}", "main", ids),) if ids else ()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("policy.decide.CONFIRM_SECONDS", "tee.poller.CONFIRM_SECONDS"):
        monkeypatch.setattr(f"teeplugin.{name}", 0.05)
    for name in ("FIRST_RECORDS_SECONDS", "RECORDS_SECONDS", "EVENT_SECONDS", "RELEASE_SECONDS"):
        monkeypatch.setattr(f"teeplugin.tee.poller.{name}", 0.02)


def _pods(at: Watched) -> PlayedPodResources:
    assert isinstance(at.pod_resources, PlayedPodResources)
    return at.pod_resources


async def _short_of(at: Watched, units: int) -> DeviceList:
    return await eventually(
        f"{units} units short",
        lambda: at.poller.decision.device_list or DeviceList(),
        until=lambda listed: len(listed.unhealthy) == units,
    )


async def test_a_shortage_is_shown_while_each_reading_meets_other_pods() -> None:
    pods = PlayedPodResources()
    # A pod of one unit is there before each reading, and another one after it.
    pods.held = [IdSet.of([number % 2]) for number in range(10_000)]
    async with watched(pod_resources=pods) as at:
        await at.answer(HALF)
        for _ in range(3):
            await anyio.sleep(0.05)
            await at.answer(HALF)
        # Both pods' units may be in use; of the six others, four are backed.
        listed = await _short_of(at, 2)
        assert listed.ids == ALL


async def test_the_capacity_is_logged_before_its_shortage() -> None:
    with capture_logs() as logs:
        async with watched(pod_resources=PlayedPodResources()) as at:
            await at.answer(HALF)
            await _short_of(at, 4)
    assert events(logs)[:2] == ["capacity", "shortage"]


async def test_a_pod_that_came_and_went_within_a_reading_raises_no_false_alarm() -> None:
    async with watched(pod_resources=PlayedPodResources()) as at:
        await at.answer(FULL)
        pods = _pods(at)
        for _ in range(3):
            await anyio.sleep(0.05)
            await eventually("a query", lambda: at.tee.outstanding)
            pods.add_allocated([0, 1, 2, 3])
            pods.held = [IdSet.first(4), IdSet()]
            await eventually("the pod was seen to go", lambda: not pods.allocated)
            # The reading is of the moment in which the pod had loaded all of its units.
            await at.answer(HALF)
        assert at.poller.decision.shortage.units == 0
        assert at.poller.decision.shortage.seen_once is None


async def test_a_pod_that_was_gone_before_a_reading_hides_no_shortage() -> None:
    async with watched(pod_resources=PlayedPodResources()) as at:
        pods = _pods(at)
        pods.held = [IdSet.first(4)]
        await at.answer(HALF)
        pods.held = [IdSet()]
        await eventually("the pod was seen to go", lambda: not pods.allocated)
        for _ in range(4):
            await anyio.sleep(0.05)
            await at.answer(HALF)
        await _short_of(at, 4)


async def test_an_id_that_allocate_hands_out_is_healthy_at_once_during_a_query() -> None:
    async with watched(pod_resources=PlayedPodResources()) as at:
        for _ in range(3):
            await anyio.sleep(0.05)
            await at.answer(HALF)
        await _short_of(at, 4)
        assert at.tee.outstanding, "the query hangs"
        _pods(at).add_allocated([7])
        with anyio.fail_after(1):
            await at.listed(DeviceList(ALL, unhealthy=IdSet.of([3, 4, 5, 6])))


async def test_an_id_that_allocate_hands_out_is_healthy_at_once_during_a_suspected_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with watched(pod_resources=PlayedPodResources()) as at:
        for _ in range(3):
            await anyio.sleep(0.05)
            await at.answer(HALF)
        await _short_of(at, 4)
        monkeypatch.setattr("teeplugin.tee.poller.CONFIRM_SECONDS", 3600)
        at.tee.answers.put_nowait(TimedOut("x"))
        await eventually("a suspected fault", lambda: at.poller.decision.suspected_fault)
        _pods(at).add_allocated([7])
        with anyio.fail_after(1):
            await at.listed(DeviceList(ALL, unhealthy=IdSet.of([3, 4, 5, 6])))


async def test_an_id_that_the_kubelet_never_reports_is_unbacked_again_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("teeplugin.policy.allocation_records.RECENT_ALLOCATION_SECONDS", 0)
    async with watched(pod_resources=PlayedPodResources()) as at:
        at.tee.answers.put_nowait(TeeMemory(TOTAL * UNIT, free_bytes=0))
        await _short_of(at, TOTAL)
        _pods(at).add_allocated([7])
        await _short_of(at, TOTAL - 1)
        # Whatever the TEE does: the query that follows hangs.
        await _short_of(at, TOTAL)


async def test_the_tee_is_asked_when_a_pod_has_ended() -> None:
    async with watched(pod_resources=PlayedPodResources()) as at:
        pods = _pods(at)
        pods.held = [IdSet.first(4)]
        at.tee.answers.put_nowait(FULL)
        await eventually("looks at the records", lambda: pods.looks > 4)
        assert at.tee.asked == 1
        pods.held = [IdSet()]
        await eventually("a query", lambda: at.tee.asked == 2)


async def test_with_health_checks_off_pods_make_no_query() -> None:
    async with watched(interval_seconds=0, pod_resources=PlayedPodResources()) as at:
        at.tee.answers.put_nowait(FULL)
        await at.listed(DeviceList(ALL))
        pods = _pods(at)
        pods.held = [IdSet.first(4)]
        pods.add_allocated([0])
        await eventually("a pod came", lambda: len(pods.allocated or ()) == 4)
        pods.held = [IdSet()]
        await eventually("it went", lambda: not pods.allocated)
        await anyio.sleep(0.1)
        assert at.tee.asked == 1
