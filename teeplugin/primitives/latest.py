"""The newest value of something, followed by any number of readers at their own pace.

The health task sets it; ListAndWatch streams follow it, and the plugin until there is a first list.
"""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Latest(Generic[T]):
    """One value that only ever moves on; a slow reader skips what was overtaken meanwhile."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = anyio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Put a newer value in and wake every reader."""
        self._value = value
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[T]:
        """Yield the newest value at once, then the newest at each change, without end."""
        while True:
            changed = self._changed
            yield self._value
            await changed.wait()
