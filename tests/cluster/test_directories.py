"""A kubelet with another --root-dir: `pod-resources` is there, `device-plugins` is not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.doctor_beside import doctor_beside
from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import UNITS, wait_for_allocatable
from tests.cluster.waiting import wait_until

FLAGS = ("--health-interval", "0.1")


@pytest.fixture(scope="module")
def root(lab: Lab) -> Iterator[Path]:
    wait_for_allocatable(lab, 0)
    with lab.kubelet_elsewhere() as root:
        yield root
        lab.delete_all_pods()


def test_device_plugins_stays_and_pod_resources_follows_the_root_directory(
    lab: Lab, root: Path, tmp_path: Path
) -> None:
    assert not (root / "device-plugins").exists()
    flags = (*FLAGS, "--pod-resources-dir", str(root / "pod-resources"))
    kubelet = Real(lab)
    kubelet.kubelet_dir = root  # whose allocation records are read
    wait_for_allocatable(lab, 0)
    with kubelet.plugin(tmp_path, flags=flags, listen="127.0.0.1:9840") as plugin:
        wait_for_allocatable(lab, UNITS)
        assert plugin.count("registered") == 1
        lab.run_pod(lab.pod("ca", 10))
        wait_until("the records are read", lambda: plugin.events("units_allocated"), 10)
        (entry,) = plugin.events("units_allocated")
        assert (entry["pod"], entry["units"]) == ("ca", 10)
        assert len(asyncio.run(kubelet.allocated("ca"))) == 10
        status, checks = doctor_beside(lab, plugin)
        assert {name for name, check in checks.items() if check["result"] == "failed"} == set()
        assert status == 0
        assert checks["pod-resources"]["result"] == "ok"
        lab.delete_all_pods()


def test_without_the_setting_doctor_names_it(lab: Lab, root: Path, tmp_path: Path) -> None:
    assert (root / "pod-resources").is_dir()
    wait_for_allocatable(lab, 0)
    with Real(lab).plugin(tmp_path, flags=FLAGS, listen="127.0.0.1:9840") as plugin:
        # It registers and serves all the same: only shortage isn't seen.
        wait_for_allocatable(lab, UNITS)
        lab.run_pod(lab.pod("ca", 10))
        wait_until("it says so", lambda: plugin.count("pod_resources_unreadable"), 30)
        _, checks = doctor_beside(lab, plugin)
        assert "--pod-resources-dir" in checks["pod-resources"]["fix"]
        assert "--pod-resources-dir" in plugin.events("pod_resources_unreadable")[0]["fix"]
        lab.delete_all_pods()
