"""A backend that reads files of sysfs: what docs/backends.md quotes of it; for test_sysfs_tee."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from teeplugin_backends.base import (
    BadReply,
    ContainerAccess,
    Refused,
    TeeBackend,
    TeeMemory,
    Unreachable,
)
from teeplugin_backends.options import directory, parse_options


@dataclass(frozen=True)
class Options:
    memory: str = directory("/sys/devices/platform/acme-tee")


class SysfsTee(TeeBackend):
    def __init__(self, options: Options) -> None:
        self._memory = Path(options.memory)

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> Self:
        return cls(parse_options(options, Options()))

    async def memory(self) -> TeeMemory:
        """Read two files of sysfs, each with a number of bytes."""
        try:
            return TeeMemory(_number(self._memory / "total"), _number(self._memory / "free"))
        except FileNotFoundError as error:
            raise Unreachable(
                f"there is no {error.filename}", fix="load the driver: modprobe acme_tee"
            ) from error
        except PermissionError as error:
            raise Refused(f"can't read {error.filename}", fix="run the plugin as root") from error
        except (OSError, ValueError) as error:
            raise BadReply(f"{self._memory}: {error}", fix="update the driver") from error

    def access(self) -> ContainerAccess:
        return ContainerAccess()


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
