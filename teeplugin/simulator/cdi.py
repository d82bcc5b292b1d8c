"""What a container runtime makes of CDI devices: the edits of their specification, or a refusal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teeplugin.api.deviceplugin.v1beta1 import DeviceSpec, Mount


class UnresolvableError(Exception):
    """No specification has a device of this name; the text is containerd's."""


@dataclass(slots=True)
class Edits:
    """What CDI devices add to a container."""

    envs: dict[str, str] = field(default_factory=dict)
    mounts: list[Mount] = field(default_factory=list)
    devices: list[DeviceSpec] = field(default_factory=list)
    hooks: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, edits: Mapping[str, Any]) -> None:
        """Add the containerEdits of a specification or of one device."""
        self.envs |= dict(variable.split("=", 1) for variable in edits.get("env", ()))
        self.mounts += [
            Mount(
                host_path=mount["hostPath"],
                container_path=mount["containerPath"],
                read_only="ro" in mount.get("options", ()),
            )
            for mount in edits.get("mounts", ())
        ]
        self.devices += [
            DeviceSpec(
                host_path=node.get("hostPath", node["path"]),
                container_path=node["path"],
                permissions=node.get("permissions", "rwm"),
            )
            for node in edits.get("deviceNodes", ())
        ]
        self.hooks += edits.get("hooks", ())


def resolve(directory: Path, names: Sequence[str]) -> Edits:
    """Collect the edits of devices by their full names, as `tee.huawei.com/units=10`.

    Raises:
        UnresolvableError: a device is in no specification of the directory.
    """
    edits = Edits()
    specifications = [json.loads(path.read_bytes()) for path in sorted(directory.glob("*.json"))]
    missing = []
    for name in names:
        kind, _, device_name = name.partition("=")
        found = [
            (specification, device)
            for specification in specifications
            if specification["kind"] == kind
            for device in specification["devices"]
            if device["name"] == device_name
        ]
        if not found:
            missing.append(name)
            continue
        specification, device = found[0]
        edits.add(specification.get("containerEdits", {}))
        edits.add(device["containerEdits"])
    if missing:
        raise UnresolvableError(
            f"CDI device injection failed: unresolvable CDI devices {', '.join(missing)}"
        )
    return edits
