"""A reload at moments that a process can't be brought to."""

import pytest

from teeplugin.config.settings import Settings
from teeplugin.daemon.reload import Reloader, Sources
from teeplugin.policy.device_list import DeviceList, IdSet, PublishedList
from tests.unit.tee.watched_poller import GOOD, UNIT, watched

pytestmark = pytest.mark.anyio


async def test_a_reserve_that_goes_between_a_reading_and_its_judgement_gives_no_unit_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Settings().model_copy(update={"reserve_bytes": UNIT})
    async with watched(reserve_bytes=UNIT) as at:
        await at.answer(GOOD)
        await at.listed(DeviceList(IdSet.first(7)))
        reloader = Reloader(kept, Sources(Settings), at.poller)
        asked = at.tee.asked

        async def refresh() -> bool:
            # After the backend was asked for its reserve, and before the policy is.
            if at.tee.asked == asked and not at.tee.outstanding:
                reloader.reload()
            return False

        monkeypatch.setattr(at.pod_resources, "refresh", refresh)
        listed: list[int] = []
        publish = at.latest_list.set

        def published(new: PublishedList | None) -> None:
            assert new is not None
            listed.append(len(new.device_list.ids))
            publish(new)

        monkeypatch.setattr(at.latest_list, "set", published)
        await at.answer(GOOD)
        await at.listed(DeviceList(IdSet.first(5)))
        assert listed == [5]
