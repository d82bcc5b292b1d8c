"""Finds out before a pod is admitted whether its container can get TEE access through CDI."""

import json
import os
import re
from pathlib import Path
from typing import Final

from teeplugin.kubelet.watch_streams import WatchStreams
from teeplugin.policy.cdi_spec import FILE, Mismatch, mismatch
from teeplugin.policy.decide import CDI_SPECIFICATION, KUBELET_WITHOUT_CDI, Cause

LARGEST_BYTES: Final = 4 * 1024 * 1024
"""The longest specification that `cdi` prints has less than 1 MB."""

_GRPC_GO = re.compile(r"grpc-go/1\.([0-9]{1,4})\.")

_OLDEST_MINOR: Final = 58
"""grpc-go 1.58 is in Kubernetes 1.29, the first whose kubelet passes CDI devices on by default. Up
to 1.28 there is 1.56 or older (go.mod of v1.27.16, v1.28.15, v1.29.0)."""


class CdiCheck:
    """Looks at the node's specification below `host_root`, and at the kubelets of the streams."""

    def __init__(self, host_root: Path, watch_streams: WatchStreams) -> None:
        self.specification = Specification(host_root)
        self._watch_streams = watch_streams

    def kubelet_problem(self) -> Cause | None:
        """Name the cause if a kubelet that watches the list drops CDI devices."""
        for user_agent in self._watch_streams.user_agents():
            match = _GRPC_GO.match(user_agent)
            if match and int(match[1]) < _OLDEST_MINOR:
                return Cause(
                    KUBELET_WITHOUT_CDI,
                    f"the kubelet is older than Kubernetes 1.29 (its gRPC library is "
                    f"{match[0][:-1]}) and drops CDI devices: containers would have no TEE access",
                    "update the kubelet, or give --cdi off on this node",
                )
        return None

    async def another_kubelet(self) -> None:
        """Wait until a further stream is opened."""
        await self._watch_streams.another(self._watch_streams.last_serial)

    def cause(self, units: int, unit_bytes: int, *, limited: bool) -> Cause | None:
        """Name the cause if a container that asks for 1 … `units` might get no TEE access."""
        if problem := self.kubelet_problem():
            return problem
        found = self.specification.mismatch(units, unit_bytes, limited=limited)
        return found and Cause(CDI_SPECIFICATION, found.problem, found.fix)


class Specification:
    """The file on the node; parsed again only when it or what is asked for has changed."""

    def __init__(self, host_root: Path) -> None:
        self.path = host_root / FILE.lstrip("/")
        self._known: tuple[object, Mismatch | None] | None = None

    def mismatch(self, units: int, unit_bytes: int, *, limited: bool) -> Mismatch | None:
        """Compare it with the settings, and begin the problem with its path."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - Path.stat follows links as well; errors are OSError
            key = (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)
            key_asked = (key, units, unit_bytes, limited)
            if self._known is None or self._known[0] != key_asked:
                document = self._read(status.st_size)
                self._known = key_asked, mismatch(document, units, unit_bytes, limited=limited)
            found = self._known[1]
        except OSError as error:
            found = Mismatch(
                f"can't be read ({error.strerror or error}), and containers get TEE access only "
                "through it",
                "write it: tee-device-plugin cdi; in a container mount /etc/cdi of the node below "
                "--host-root",
            )
        return found and Mismatch(f"{self.path} {found.problem}", found.fix)

    def _read(self, size_bytes: int) -> object:
        """Give the document; None for what is too long or no JSON.

        Raises:
            OSError: it can't be read.
        """
        if size_bytes > LARGEST_BYTES:
            return None
        with self.path.open("rb") as file:
            content = file.read(LARGEST_BYTES)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            return None
