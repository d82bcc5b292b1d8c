"""Reads from the kubelet's own checkpoint how large units were when pods got them; asked by plugin.

The file is the kubelet's and has no promised form: what can't be read is taken for nothing, so it
serves for a warning only. PodResources names ids but not what their containers were told.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from teeplugin.api.deviceplugin import v1beta1
from teeplugin.service import UNIT_BYTES_VARIABLE

FILE_NAME = "kubelet_internal_checkpoint"

LARGEST_BYTES = 64 * 1024 * 1024
"""The file holds every id of every allocation; one that is larger isn't worth the time."""


def held_units_by_size(directory: Path, resource_name: str) -> Mapping[int, int]:
    """Count units in the checkpoint by the bytes that one had; those not told aren't counted."""
    path = directory / FILE_NAME
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return {}
        entries = json.loads(path.read_bytes())["Data"]["PodDeviceEntries"] or ()
        return Counter(size for entry in entries for size in _unit_sizes(entry, resource_name))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


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
