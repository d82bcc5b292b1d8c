"""What this machine must have for the lab."""

from __future__ import annotations

import os
from pathlib import Path

from tests import system_packages
from tests.cluster.versions import CRI_O, Versions
from tests.system_packages import UnavailableError


def cni_plugins() -> Path | None:
    """Find the directory of the CNI plugins."""
    bridge = system_packages.find(system_packages.CNI_BRIDGE)
    return bridge and bridge.parent


def ensure(versions: Versions) -> None:
    """Make sure that all but Go is there, or say in one line what isn't."""
    if os.geteuid() != 0:
        raise UnavailableError("the cluster tests need root: they make namespaces and containers")
    system_packages.ensure(["cluster", "cri-o"] if versions.runtime == CRI_O else ["cluster"])
