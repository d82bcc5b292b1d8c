"""What a pod's admission gives or refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teeplugin.api.deviceplugin.v1beta1 import (
    AllocateResponse,
    ContainerAllocateResponse,
    DeviceSpec,
    Mount,
)
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

    @classmethod
    def of(cls, holding: Holding) -> "ContainerGrant":
        """The grant that a holding in the allocation records stands for."""
        answer = ContainerAllocateResponse.parse(holding.response)
        return cls(
            ids=holding.ids,
            envs=answer.envs,
            mounts=answer.mounts,
            devices=answer.devices,
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
