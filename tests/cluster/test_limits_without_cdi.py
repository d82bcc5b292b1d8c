"""`cdi: on` on a runtime that ignores CDI devices: no TEE access, and the plugin says why.

Run with `--containerd 1.6`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from teeplugin.policy.cdi_spec import FILE
from tests.cluster.lab import Lab
from tests.cluster.scheduling import UNITS, wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

WARNED_SECONDS = 90
"""A container without a record is reported after a minute."""


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[Plugin]:
    root = lab.settings.run / "limits"
    (root / FILE.lstrip("/")).parent.mkdir(parents=True)
    for name in ("dev", "var"):
        (root / name).symlink_to(f"/{name}")
    command = [sys.executable, "-m", "teeplugin", "cdi", "--backend", "simulated"]
    command += ["--backend-option", "access=itrustee", "--units", str(UNITS)]
    with (root / FILE.lstrip("/")).open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=30)
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    flags = ("--health-interval", "0.1", "--cdi", "on")
    made = Plugin(
        tmp_path,
        kubelet_dir=KUBELET_DIR,
        host_root=root,
        enter=lab.enter(),
        flags=flags,
        units=UNITS,
    )
    with made as running:
        wait_for_allocatable(lab, UNITS)
        yield running
        lab.delete_all_pods()


def test_a_pod_has_no_tee_access_and_the_plugin_says_why(lab: Lab, plugin: Plugin) -> None:
    lab.run_pod(lab.pod("ca", 10))
    assert "TEE_RAM" not in lab.exec("ca", "env")
    assert "teelog" not in lab.exec("ca", "ls", "/dev")
    assert "/var/itrustee" not in lab.exec("ca", "cat", "/proc/mounts")
    event = wait_until(
        "the plugin says that a container has no TEE access",
        lambda: plugin.events("containers_without_tee"),
        WARNED_SECONDS,
    )[0]
    assert event["containers"] == 1
    assert "ignores CDI devices" in event["effect"]
    assert "containerd 2" in json.dumps(event["fix"])
