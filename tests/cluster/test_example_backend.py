"""A backend of another package on the real cluster: its wheel, its units, its pods."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.example_installed import UNITS, WELL, ExamplePlugin, Installed

DEVICE = "/dev/teelog"
"""A node that the lab has, for a container can't be given one that isn't there."""


@pytest.fixture
def plugin(lab: Lab, tmp_path: Path) -> Iterator[ExamplePlugin]:
    example = Installed.into(tmp_path / "example")
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    with ExamplePlugin(
        tmp_path,
        example,
        kubelet_dir=KUBELET_DIR,
        host_root=Path("/"),
        device=DEVICE,
        enter=lab.enter(),
    ) as plugin:
        yield plugin
    lab.delete_all_pods()


def test_a_pod_gets_units_of_the_examples_tee_and_the_node_follows_its_faults(
    lab: Lab, plugin: ExamplePlugin
) -> None:
    wait_for_allocatable(lab, UNITS)
    lab.run_pod(lab.pod("ca", 10))
    inside = dict(line.split("=", 1) for line in lab.exec("ca", "env").splitlines())
    assert inside["TEE_RAM_UNITS"] == "10"
    assert inside["ACME_TEE_DEVICE"] == DEVICE
    assert lab.exec("ca", "ls", "-l", DEVICE).startswith("c")
    plugin.run_as_program("echo the driver is not loaded >&2; exit 2")
    wait_for_allocatable(lab, 0)
    plugin.run_as_program(WELL)
    wait_for_allocatable(lab, UNITS)
    assert lab.restarts("ca") == 0
