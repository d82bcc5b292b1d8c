"""What a pod's admission gives or refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teeplugin.api.deviceplugin.v1beta1 import (
    AllocateResponse,
    ContainerAllocateResponse,
    DeviceSpec,
    Mount,
)
from teeplugin.simulator.cdi import Edits, UnresolvableError, resolve
from teeplugin.simulator.device_manager import Holding


class AdmissionError(Exception):
    """A pod was refused: `reason` and `message` are what its status would say."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class ContainerStartError(Exception):
    """An admitted pod's container can't be started, or not again."""


@dataclass(frozen=True, slots=True)
class ContainerGrant:
    """One container's devices, and what its Allocate handed out."""

    ids: frozenset[str]
    envs: Mapping[str, str]
    mounts: Sequence[Mount]
    devices: Sequence[DeviceSpec]
    hooks: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, holding: Holding, cdi_directory: Path | None = None) -> "ContainerGrant":
        """The grant that a holding stands for, with the CDI devices of a directory.

        Without a directory the kubelet or the runtime has no CDI, and drops the devices silently.

        Raises:
            ContainerStartError: a CDI device is in no specification.
        """
        answer = ContainerAllocateResponse.parse(holding.response)
        names = [device.name for device in answer.cdi_devices]
        try:
            edits = resolve(cdi_directory, names) if cdi_directory else Edits()
        except UnresolvableError as error:
            raise ContainerStartError(str(error)) from error
        return cls(
            ids=holding.ids,
            envs=answer.envs | edits.envs,
            mounts=[*answer.mounts, *edits.mounts],
            devices=[*answer.devices, *edits.devices],
            hooks=edits.hooks,
        )


@dataclass(frozen=True, slots=True)
class Admission:
    """An admitted pod; the shortcuts are for the usual pod of one container."""

    pod: str
    namespace: str
    containers: Mapping[str, ContainerGrant]

    @property
    def ids(self) -> frozenset[str]:
        """The devices of all containers."""
        return frozenset().union(*(grant.ids for grant in self.containers.values()))

    @property
    def envs(self) -> Mapping[str, str]:
        """The first container's environment."""
        return self._first.envs

    @property
    def mounts(self) -> Sequence[Mount]:
        """The first container's mounts."""
        return self._first.mounts

    @property
    def devices(self) -> Sequence[DeviceSpec]:
        """The first container's device nodes."""
        return self._first.devices

    @property
    def _first(self) -> ContainerGrant:
        return next(iter(self.containers.values()))


def container_answer(response: AllocateResponse) -> ContainerAllocateResponse | None:
    """The one answer to a one-container request; the kubelet ignores further ones."""
    return response.container_responses[0] if response.container_responses else None
