"""The backend `acme`: asks the vendor's program acme-tee for the TEE's memory."""

import asyncio
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from acme_tee.tool import Ended, StuckError, Tool
from teeplugin_backends.base import (
    QUERY_SECONDS,
    BadReply,
    Busy,
    ContainerAccess,
    Device,
    Exhausted,
    Finding,
    Refused,
    TeeBackend,
    TeeError,
    TeeMemory,
    TimedOut,
    Unreachable,
)
from teeplugin_backends.options import parse_options, path

ANSWER_SECONDS = QUERY_SECONDS - 1
"""Less than the plugin's deadline, so that it is us who say what hangs."""

# What acme-tee's manual says of its exit status.
_FAULTS: Mapping[int, type[TeeError]] = {2: Unreachable, 3: Refused, 4: Busy, 5: Exhausted}

_FIGURES = re.compile(r"total (\d+)\nfree (\d+)\n")


@dataclass(frozen=True)
class Options:
    """What operators may give as --backend-option."""

    command: str = path("/usr/bin/acme-tee")
    device: str = path("/dev/acme-tee", under="/dev/")


class AcmeTee(TeeBackend):
    """Options: `command`, the program, and `device`, the node that containers are given."""

    def __init__(self, options: Options) -> None:
        self._tool = Tool(options.command)
        self._device = options.device

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        """Make it from the options above."""
        return cls(parse_options(options, Options()))

    async def memory(self) -> TeeMemory:
        """Run `acme-tee memory` once."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                ended = await self._tool.run("memory")
        except TimeoutError:
            raise TimedOut(
                f"{self._tool.path} memory did not end within {ANSWER_SECONDS:g} s"
            ) from None
        except StuckError:
            raise TimedOut(
                f"an earlier {self._tool.path} was killed and has not ended yet",
                fix="look for what it waits for in the kernel; it is asked again after that",
            ) from None
        except FileNotFoundError as error:
            raise Unreachable(
                str(error), fix="install acme-tee, or name it with --backend-option command="
            ) from error
        except OSError as error:
            raise BadReply(
                f"{self._tool.path} can't be started: {error}",
                fix="look at its permissions, and at the limits of processes and memory",
            ) from error
        return _reading(ended)

    def access(self) -> ContainerAccess:
        """The device node, and where it is."""
        return ContainerAccess(
            devices=(Device(self._device, self._device, "rw"),),
            environment={"ACME_TEE_DEVICE": self._device},
            missing_fix="load the driver acme_tee",
        )

    @property
    def default_reserve_bytes(self) -> int:
        """What acme's TEE OS takes of the total, by its manual."""
        return 16 * 1024**2

    async def checks(self, host_root: Path) -> Sequence[Finding]:
        """The program and the device node."""
        program, node = self._tool.path, host_root / self._device.lstrip("/")
        return (
            Finding.ok("acme-tee", program)
            if os.access(program, os.X_OK)
            else Finding.failed("acme-tee", f"{program} can't be run", "install acme-tee"),
            Finding.ok("acme-device", self._device)
            if node.exists()
            else Finding.failed("acme-device", f"no {self._device}", "load the driver acme_tee"),
        )

    def counters(self) -> Mapping[str, int]:
        """How often the program was started, and killed."""
        return self._tool.counts

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the program of a query that is under way."""
        await self._tool.close()


def _reading(ended: Ended) -> TeeMemory:
    last_line = ended.output.strip().rpartition("\n")[2]
    if ended.status in _FAULTS:
        raise _FAULTS[ended.status](f"acme-tee: {last_line}")
    figures = _FIGURES.fullmatch(ended.output)
    if ended.status != 0 or figures is None:
        raise BadReply(f"acme-tee ended with status {ended.status}, saying {last_line!r}")
    total_bytes, free_bytes = map(int, figures.groups())
    try:
        return TeeMemory(total_bytes, free_bytes)
    except ValueError as error:
        raise BadReply(f"acme-tee says {error}") from error
