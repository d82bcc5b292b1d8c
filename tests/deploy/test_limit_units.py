"""The host units of the limits on a real systemd: installed, started by what they watch, gone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from tests.cluster.waiting import wait_until
from tests.deploy.files import DEPLOY, ROOT
from tests.deploy.systemd_node import NodeContainer, SystemdNode, systemd_node
from tests.needs import need
from tests.tee.build import make
from tests.tee.limits import MockTee

TOOL = Path("/usr/bin/tee_teleport")
HOOK = "/usr/libexec/tee-limit"
RECORDS = "run/tee-limit/containers"
TEECD = "var/itrustee/teecd"
SET_AGAIN_SECONDS = 5.0
# The init container's view: the node's root below /node, in namespaces of its own.
INSTALLER = 'mkdir -p /tmp/node && mount --rbind / /tmp/node && exec "$@" /tmp/node'
TEECD_RESTARTS = """\
import os, socket, sys, time
path, away_seconds = sys.argv[1], float(sys.argv[2])
if os.path.exists(path):
    os.unlink(path)
time.sleep(away_seconds)
socket.socket(socket.AF_UNIX).bind(path)
"""


class Limited:
    """A node with the limits installed, and the TEE of its mock tool."""

    def __init__(self, node: SystemdNode, image: Path) -> None:
        self.node = node
        self._image = image
        # What the service may write is below /run only; the vendor's tool writes nothing.
        self.tee = MockTee(node.shared / "mock")
        self.tee.empty()

    def installer(self, action: str) -> str:
        """Run limits.sh as the init container does."""
        script = ("unshare", "--mount", "sh", "-c", INSTALLER, "sh")
        plugin = ("env", "PLUGIN=/run/shared/image/plugin")
        return self.node.run(*script, *plugin, "/run/shared/image/limits.sh", action)

    def restart_teecd(self, away_seconds: float = 0) -> None:
        """End teecd, which takes its socket away; start it again so much later."""
        words = ("-c", TEECD_RESTARTS, f"/{TEECD}/teecd.sock", str(away_seconds))
        self.node.run("python3", *words)

    @contextmanager
    def container(self, kib: int = 5120) -> Iterator[NodeContainer]:
        """Run a container with a limit."""
        with self.node.container() as one:
            self.node.run(HOOK, "set", f"--memory={kib}K", data=one.state())
            yield one

    def records(self) -> list[str]:
        return self.node.run("ls", f"/{RECORDS}").split()

    def groups_are(self, *containers: NodeContainer, seconds: float = SET_AGAIN_SECONDS) -> float:
        """Wait until these and no others have a group; how long it took."""
        began = monotonic()
        expected = sorted(f"{one.namespace} 5120K" for one in containers)
        wait_until(
            "the groups",
            lambda: sorted(self.tee.groups.values()),
            seconds,
            accept=lambda seen: seen == expected,
            explain=lambda: self.node.run("systemctl", "status", "tee-limit*", check=False),
        )
        return monotonic() - began


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemdNode]:
    need("compiler")
    with systemd_node(tmp_path_factory.mktemp("node")) as booted:
        yield booted


@pytest.fixture(scope="module")
def limited(node: SystemdNode) -> Iterator[Limited]:
    image = node.shared / "image"
    image.mkdir()
    make(ROOT / "ca", [f"OUT={image}", f"OBJ={image}/objects", "hook"])
    for unit in (DEPLOY / "systemd").glob("tee-limit.*"):
        (image / unit.name).write_bytes(unit.read_bytes())
    for name, text in (
        ("limits.sh", (DEPLOY / "limits" / "limits.sh").read_text()),
        ("plugin", '#!/bin/sh\necho \'{"kind": "first"}\'\n'),
    ):
        (image / name).write_text(text)
        (image / name).chmod(0o755)
    made = Limited(node, image)
    made.tee.build(image / TOOL.name, TOOL, Path("/run/shared/mock"))
    node.run("install", "-m", "755", f"/run/shared/image/{TOOL.name}", TOOL)
    made.restart_teecd()
    made.installer("install")
    yield made
    made.installer("uninstall")
    for name in ("tee-limit.path", "tee-limit.timer"):
        assert node.shown(name, "ActiveState") == "inactive"
        assert node.shown(name, "LoadState") == "not-found"
    assert not (node.root / HOOK.lstrip("/")).exists()


def test_the_init_container_enables_and_starts_the_units(
    node: SystemdNode, limited: Limited
) -> None:
    assert limited.tee.groups == {}
    for unit in ("tee-limit.path", "tee-limit.timer"):
        assert node.shown(unit, "ActiveState") == "active"
        assert node.shown(unit, "UnitFileState") == "enabled"
    assert "1min" in node.shown("tee-limit.timer", "TimersMonotonic")
    assert "PathChanged" in node.shown("tee-limit.path", "Paths")


@pytest.mark.parametrize("away_seconds", [0, 0.01, 0.03, 0.1, 1])
def test_a_restart_of_the_tee_starts_the_service_which_sets_the_limits_again(
    limited: Limited, away_seconds: float
) -> None:
    with limited.container() as one, limited.container() as two:
        limited.groups_are(one, two)
        limited.tee.lose_groups()
        limited.restart_teecd(away_seconds)
        seconds = limited.groups_are(one, two)
        print(f"\nteecd was away for {away_seconds} s; limits set again {seconds:.2f} s later")
        for each in (one, two):
            limited.node.run(HOOK, "clean", data=each.state(pid=0))
    limited.groups_are()


def test_the_timer_cleans_the_group_of_a_container_that_is_gone(
    node: SystemdNode, limited: Limited
) -> None:
    with limited.container() as one:
        limited.groups_are(one)
    assert limited.records() == [one.id]
    often = node.root / "run/systemd/system/tee-limit.timer.d"
    often.mkdir(parents=True)
    # A timer's first time may be over when it is started: it then elapses at once.
    reset = "OnBootSec=\nOnUnitActiveSec=\n"
    (often / "often.conf").write_text(f"[Timer]\n{reset}OnBootSec=1s\nOnUnitActiveSec=1s\n")
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "restart", "tee-limit.timer")
    limited.groups_are()
    assert limited.records() == []
    with limited.container() as another:
        limited.groups_are(another)
    limited.groups_are()


def test_the_service_needs_nothing_that_its_confinement_takes(
    node: SystemdNode, limited: Limited
) -> None:
    with limited.container() as one:
        limited.tee.lose_groups()
        limited.restart_teecd()
        limited.groups_are(one)
        assert node.shown("tee-limit.service", "Result") == "success"
        assert node.shown("tee-limit.service", "NoNewPrivileges") == "yes"
        limited.node.run(HOOK, "clean", data=one.state(pid=0))
