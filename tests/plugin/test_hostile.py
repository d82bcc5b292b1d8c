"""Fifty hostile clients at once on the plugin as a process; tests.hostile measures it at length."""

import asyncio
from collections import Counter

import pytest

from tests.hostile.crowd import misbehave
from tests.hostile.node import node
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

CLIENTS = 50


async def test_fifty_hostile_clients_dont_come_between_the_plugin_and_its_kubelet() -> None:
    async with node(128) as one:
        before = one.usage()
        done: Counter[str] = Counter()
        async with asyncio.TaskGroup() as tasks:
            for seed in range(CLIENTS):
                tasks.create_task(misbehave(one.socket, seed, 0.5, done))
            await one.call()
            await one.flip()
            await one.flip()
        # Before, a thread may have been reading the kubelet's checkpoint.
        await eventually(
            "descriptors and threads as before",
            lambda: (one.usage().descriptors, one.usage().threads),
            until=lambda seen: seen[0] <= before.descriptors and seen[1] <= before.threads,
        )
        await one.call()
        assert one.problems() == []
        assert done.total() >= CLIENTS
