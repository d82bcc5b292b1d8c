"""Run a function that takes long in a thread of its own, beside the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def in_a_thread(function: Callable[..., T], *arguments: object) -> T:
    """Run a function beside the loop, where an Allocate may arrive meanwhile.

    No thread is left of it, as one of asyncio's own pool would be.
    """
    with ThreadPoolExecutor(1) as thread:
        return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)
