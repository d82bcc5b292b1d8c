"""A backend that does what a test says, at each step of doctor's."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from teeplugin_backends.base import (
    ContainerAccess,
    Device,
    Finding,
    TeeBackend,
    TeeMemory,
)

ROOT = Path("/")
MEMORY = TeeMemory(1024**3, 1024**3)


class Tee(TeeBackend):
    """A backend whose parts a test replaces."""

    def __init__(self, **parts: Callable[..., Any]) -> None:
        self.parts = parts
        self.calls: list[str] = []

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        del options
        return cls()

    async def _part(self, name: str, well: Any) -> Any:
        self.calls.append(name)
        if name not in self.parts:
            return well
        answer = self.parts[name]()
        return await answer if isinstance(answer, Awaitable) else answer

    async def memory(self) -> TeeMemory:
        answered: TeeMemory = await self._part("memory", MEMORY)
        return answered

    def access(self) -> ContainerAccess:
        self.calls.append("access")
        if "access" in self.parts:
            self.parts["access"]()
        return ContainerAccess(devices=(Device("/dev/tee0", "/dev/tee0"),), missing_fix="load it")

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        assert host_root == ROOT
        found: Sequence[Finding] = await self._part("checks", (Finding.ok("library", "there"),))
        return found

    async def __aenter__(self) -> Self:
        await self._part("enter", None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._part("exit", None)


def raises(error: BaseException) -> Callable[[], Any]:
    def part(*_: object) -> None:
        raise error

    return part
