"""The real way to the TEE on the real cluster: helper, ctypes, C ABI, our TA's code, a kubelet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.lab import Lab
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import KUBELET_DIR
from tests.needs import need
from tests.plugin_process import UNIT_BYTES
from tests.tee.build import Built, build
from tests.tee.plugin import GIB, At, LibteecPlugin

RESERVE_BYTES = {"itrustee": 600 * 1024**2, "optee": 2560 * 1024}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    need("compiler", "cross compiler", "emulator", "valgrind")
    return build(tmp_path_factory.mktemp("tee"))


@pytest.fixture(params=["itrustee", "optee"])
def plugin(
    request: pytest.FixtureRequest, lab: Lab, built: Built, tmp_path: Path
) -> Iterator[tuple[str, LibteecPlugin]]:
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    vendor: str = request.param
    # The lab has no /dev/tee0: a directory that has all nodes stands for the node.
    place = At(kubelet_dir=KUBELET_DIR, host_root=_node(tmp_path))
    with LibteecPlugin(tmp_path, place, built.library(vendor), enter=lab.enter()) as plugin:
        yield vendor, plugin
    lab.delete_all_pods()


def _node(directory: Path) -> Path:
    root = directory / "node"
    for path in ("dev/tee0", "dev/teelog", "dev/tc_ns_cvm", "var/itrustee/teecd"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_allocatable_is_what_the_tee_has_less_the_reserve_in_units(
    lab: Lab, plugin: tuple[str, LibteecPlugin]
) -> None:
    vendor, process = plugin
    units = (GIB - RESERVE_BYTES[vendor]) // UNIT_BYTES
    wait_for_allocatable(lab, units)
    assert process.events("capacity")[0]["total_bytes"] == GIB
    if vendor == "itrustee":
        lab.run_pod(lab.pod("ca", 10))
        assert lab.exec("ca", "ls", "-l", "/dev/teelog").startswith("c")
    process.play(fault="invoke:result:0xFFFF3024")
    wait_for_allocatable(lab, 0)
    process.play()
    wait_for_allocatable(lab, units)
