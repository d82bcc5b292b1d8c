"""The newest value of something, followed by any number of readers at their own pace.

The health task sets it, ListAndWatch streams and the registration follow it.
"""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Latest(Generic[T]):
    """One value that only ever moves on; a slow reader skips what was overtaken meanwhile."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._closed = False
        self._changed = anyio.Event()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Put a newer value in and wake every reader."""
        self._value = value
        self._wake()

    def close(self) -> None:
        """End every `follow`, now and later ones, after the value they already have."""
        self._closed = True
        self._wake()

    async def follow(self) -> AsyncIterator[T]:
        """Yield the newest value at once, then the newest at each change, until closed."""
        while not self._closed:
            changed = self._changed
            yield self._value
            await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
