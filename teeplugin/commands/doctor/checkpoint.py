"""Reads from the kubelet's own checkpoint how large units were when pods got them.

The file is the kubelet's and has no promised form: what can't be read is taken for nothing, so it
serves for a warning only. PodResources names ids but not what their containers were told; the file
has that, and pods as well that ended a while ago.
"""

import base64
import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.commands.doctor.evidence import RecordedAllocation
from teeplugin.policy.device_list import IdSet, parse_device_id
from teeplugin.policy.variables import UNIT_BYTES_VARIABLE

FILE_NAME = "kubelet_internal_checkpoint"

LARGEST_BYTES = 64 * 1024 * 1024
"""The file holds every id of every allocation; one that is larger isn't worth the time."""


def recorded_allocations(directory: Path, resource_name: str) -> Sequence[RecordedAllocation]:
    """Give what the checkpoint has of a resource; containers that were told no size are left out.

    Some of the pods may have ended.
    """
    try:
        entries = json.loads(_content(directory / FILE_NAME))["Data"]["PodDeviceEntries"] or ()
        found = [_recorded(entry) for entry in entries if entry["ResourceName"] == resource_name]
        return [each for each in found if each is not None]
    except Exception:  # noqa: BLE001 - json and betterproto2 raise many kinds on bad bytes
        return ()


def _content(path: Path) -> bytes:
    """Read a plain file: no link is followed, and a pipe is not waited for.

    Raises:
        OSError: it can't be read.
        ValueError: it is something else, or too large.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_BYTES:
            raise ValueError(f"{path} is no file of {LARGEST_BYTES} bytes or fewer")
        return file.read()


def _recorded(entry: Mapping[str, Any]) -> RecordedAllocation | None:
    """Read one container's entry; None if it was told no size."""
    answer = base64.b64decode(entry["AllocResp"])
    told = v1beta1.ContainerAllocateResponse.parse(answer).envs
    text = told.get(UNIT_BYTES_VARIABLE, "")
    if not text.isdigit():
        return None
    ids = entry["DeviceIDs"]
    # By NUMA node; a plain list before Kubernetes 1.20.
    lists = ids.values() if isinstance(ids, Mapping) else [ids]
    parsed = (parse_device_id(one.encode()) for each in lists for one in each)
    units = IdSet.of(device_id for device_id in parsed if device_id is not None)
    return RecordedAllocation(entry["ContainerName"], units, int(text))
