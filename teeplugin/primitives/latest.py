"""The newest value of something, followed by any number of readers at their own pace."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from teeplugin.primitives.signal import Signal

T = TypeVar("T")


class Latest(Generic[T]):
    """One value that only ever moves on; a slow reader skips what was overtaken meanwhile."""

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = Signal()

    @property
    def value(self) -> T:
        """The newest value."""
        return self._value

    def set(self, value: T) -> None:
        """Put a newer value in and wake every reader."""
        self._value = value
        self._changed.set()

    async def follow(self) -> AsyncIterator[T]:
        """Yield the newest value at once, then the newest at each change, without end."""
        while True:
            seen = self._changed.count
            yield self._value
            await self._changed.after(seen)
