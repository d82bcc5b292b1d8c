"""The plugin on a host itself, without a pod: the guide's four lines, and `make install`."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import building
from tests.cluster.deploying import ITRUSTEE_UNITS, Shell, shell
from tests.cluster.lab import Lab
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import HERE
from tests.cluster.waiting import wait_until

__all__ = ["shell"]  # the fixture

# What the guide types on the host, in the checkout; the node has the vendor's libraries already.
FOUR_LINES = """\
cp pkg/libteememca.so /usr/lib64/
cp pkg/tee-device-plugin /vendor/bin
cp pkg/*.sec /data/
exec /vendor/bin/tee-device-plugin
"""
# The node's own, and the directories that the vendor's installation made.
VENDOR = """\
set -eu
mkdir -p /usr/lib64 /vendor/bin /data
cp deploy/docker/libteec.so deploy/docker/libboundscheck.so /usr/lib64/
echo /usr/lib64 > /etc/ld.so.conf.d/lab.conf
ldconfig
"""
# What the unit's confinement comes to, as far as it can be had without systemd.
CONFINED = (
    *("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
    *("env", "SHIV_ROOT=/var/cache/tee-device-plugin", "MALLOC_MMAP_THRESHOLD_=1048576"),
)
INSTALLED = f"""\
make install
exec {" ".join(CONFINED)} /vendor/bin/tee-device-plugin --config /etc/tee-device-plugin/config.yaml
"""


@contextmanager
def on_the_host(lab: Lab, shell: Shell, lines: str, directory: Path) -> Iterator[Path]:
    """Type lines on a host of the lab whose last one is the plugin; its log."""
    scratch = directory / "host"
    scratch.mkdir()
    log = directory / "log"
    script = f"cd {shell.folder}\n{VENDOR}{lines}"
    own_mounts = ("unshare", "--mount", "--propagation=private", "--")
    command = [*own_mounts, "sh", str(HERE / "host_root.sh"), str(scratch), "sh", "-c", script]
    with log.open("wb") as output:
        process = subprocess.Popen(
            lab.enter(*command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=building.shell_environment(),
        )
    try:
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        subprocess.run(["rm", "-rf", scratch], check=True)


@pytest.fixture
def place(shell: Shell) -> Iterator[Path]:
    """A directory that is the same inside the lab, on a file system that overlays can be on."""
    directory = shell.folder.parent / f"host-{os.getpid()}"
    directory.mkdir()
    yield directory
    subprocess.run(["rm", "-rf", directory], check=True)


@pytest.mark.parametrize("lines", [FOUR_LINES, INSTALLED], ids=["guide", "make install"])
def test_a_host_lists_what_its_tee_has_and_pods_get_it(
    lab: Lab, shell: Shell, place: Path, lines: str
) -> None:
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    with on_the_host(lab, shell, lines, place) as log:
        try:
            wait_until(
                "it is registered",
                lambda: "event=registered" in log.read_text(),
                60,
                explain=log.read_text,
            )
            wait_for_allocatable(lab, ITRUSTEE_UNITS)
            lab.run_pod(lab.pod("ca", 10))
        finally:
            lab.delete_all_pods()
    print(log.read_text())
    wait_for_allocatable(lab, 0)
    # Nothing of it was written to this machine.
    assert not Path("/vendor/bin/tee-device-plugin").exists()
