"""Reads from the kubelet's own checkpoint how large units were when pods got them.

The file is the kubelet's and has no promised form: what can't be read is taken for nothing, so it
serves for a warning only. PodResources names ids but not what their containers were told.
"""

import base64
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.kubelet.device_plugin_service import UNIT_BYTES_VARIABLE

FILE_NAME = "kubelet_internal_checkpoint"

LARGEST_BYTES = 64 * 1024 * 1024
"""The file holds every id of every allocation; one that is larger isn't worth the time."""


def allocated_units_by_size(directory: Path, resource_name: str) -> Mapping[int, int]:
    """Count units in the checkpoint by the bytes that one had; those not told aren't counted."""
    try:
        entries = json.loads(_content(directory / FILE_NAME))["Data"]["PodDeviceEntries"] or ()
        return Counter(size for entry in entries for size in _unit_sizes(entry, resource_name))
    except Exception:  # noqa: BLE001 - json and betterproto2 raise many kinds on bad bytes
        return {}


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


def _unit_sizes(entry: Mapping[str, Any], resource_name: str) -> Iterator[int]:
    """Give the bytes of each unit of one container."""
    if entry["ResourceName"] != resource_name:
        return
    answer = base64.b64decode(entry["AllocResp"])
    told = v1beta1.ContainerAllocateResponse.parse(answer).envs
    text = told.get(UNIT_BYTES_VARIABLE, "")
    if not text.isdigit():
        return
    ids = entry["DeviceIDs"]
    # By NUMA node; a plain list before Kubernetes 1.20.
    lists = ids.values() if isinstance(ids, Mapping) else [ids]
    for one in lists:
        for _ in one:
            yield int(text)
