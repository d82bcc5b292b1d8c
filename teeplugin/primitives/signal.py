"""An event that happens again and again, awaited by any number of tasks without a lost wake-up."""

import anyio


class Signal:
    """Counts how often it was set; a waiting task names the count that it has seen.

    Nothing is cleared, so no task takes a wake-up from another: each compares with its own count.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = anyio.Event()

    def set(self) -> None:
        """Count one more and wake every task that waits."""
        self.count += 1
        happened, self._next = self._next, anyio.Event()
        happened.set()

    async def after(self, count: int) -> int:
        """Wait until it was set since it had this count, at once if it was; the new count."""
        while self.count == count:
            await self._next.wait()
        return self.count
