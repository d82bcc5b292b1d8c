"""limits.sh on a node that is a folder: what it puts there, and that it takes all of it away."""

import json
import subprocess
from pathlib import Path

import pytest

from teeplugin.policy.cdi_spec import FILE, HOOK_PATH
from tests.deploy.files import DEPLOY, tree

HOOK = HOOK_PATH.lstrip("/")
SPECIFICATION = FILE.lstrip("/")
UNITS = {f"etc/systemd/system/tee-limit.{kind}" for kind in ("service", "path", "timer")}


class Node:
    """A node's root, with the image's folder beside it, and a plugin and a systemctl to see."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "node"
        self.image = directory / "image"
        self.plugin = directory / "plugin"
        self.root.mkdir()
        self.image.mkdir()
        for kind in ("service", "path", "timer"):
            name = f"tee-limit.{kind}"
            (self.image / name).write_text((DEPLOY / "systemd" / name).read_text())
        script = DEPLOY / "limits" / "limits.sh"
        (self.image / "limits.sh").write_text(script.read_text())
        self.hook("one")
        self.prints('{"kind": "first"}')

    def hook(self, content: str) -> None:
        path = self.image / "tee-limit"
        path.write_text(content)
        path.chmod(0o755)

    def prints(self, text: str, status: int = 0) -> None:
        self.plugin.write_text(f"#!/bin/sh\necho '{text}'; echo \"$@\" >&2; exit {status}\n")
        self.plugin.chmod(0o755)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", self.image / "limits.sh", *words, *([self.root] if words else [])],
            env={"PATH": "/usr/bin:/bin", "PLUGIN": str(self.plugin), **variables},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def installed(self) -> None:
        done = self.run("install")
        assert done.returncode == 0, done.stderr


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_it_puts_hook_specification_and_service_where_they_belong(node: Node) -> None:
    node.installed()
    assert tree(node.root) == {HOOK, SPECIFICATION, *UNITS}
    assert (node.root / HOOK).stat().st_mode & 0o777 == 0o755
    assert json.loads((node.root / SPECIFICATION).read_text()) == {"kind": "first"}


def test_an_update_replaces_each_file_by_another(node: Node) -> None:
    node.installed()
    before = {name: (node.root / name).stat().st_ino for name in (HOOK, SPECIFICATION)}
    node.hook("two")
    node.prints('{"kind": "second"}')
    node.installed()
    assert (node.root / HOOK).read_text() == "two"
    assert "second" in (node.root / SPECIFICATION).read_text()
    # Those that run the old one keep it.
    assert all((node.root / name).stat().st_ino != inode for name, inode in before.items())


def test_a_specification_stays_where_the_tee_does_not_answer(node: Node) -> None:
    node.installed()
    node.prints("half a speci", status=1)
    done = node.run("install")
    assert done.returncode == 0
    assert f"{FILE} stays as it was" in done.stderr
    assert "first" in (node.root / SPECIFICATION).read_text()
    assert tree(node.root) == {HOOK, SPECIFICATION, *UNITS}


def test_without_any_the_pod_waits_for_the_tee(node: Node) -> None:
    node.prints("", status=1)
    done = node.run("install")
    assert done.returncode == 1
    assert SPECIFICATION not in tree(node.root)


def test_an_image_without_the_hook_is_told(node: Node) -> None:
    (node.image / "tee-limit").unlink()
    done = node.run("install")
    assert done.returncode == 1
    assert "build it with make hook" in done.stderr
    assert tree(node.root) == set()


def test_flags_of_the_specification_are_passed_on(node: Node) -> None:
    done = node.run("install", CDI_FLAGS="--secure-storage --units 7")
    assert "cdi --secure-storage --units 7" in done.stderr


def test_an_uninstall_leaves_nothing(node: Node) -> None:
    node.installed()
    (node.root / "run/tee-limit/containers").mkdir(parents=True)
    (node.root / "run/tee-limit/summary").touch()
    assert node.run("uninstall").returncode == 0
    assert tree(node.root) == set()
    assert node.run("uninstall").returncode == 0


def test_while_containers_run_the_hook_stays_for_their_end(node: Node) -> None:
    node.installed()
    records = node.root / "run/tee-limit/containers"
    records.mkdir(parents=True)
    (records / "a").touch()
    done = node.run("uninstall")
    assert done.returncode == 0
    assert f"{HOOK_PATH} is left" in done.stderr
    assert tree(node.root) == {HOOK, "run/tee-limit/containers/a"}


def test_a_node_without_systemd_is_told_what_to_do(node: Node) -> None:
    assert "has no systemd: run /usr/libexec/tee-limit" in node.run("install").stderr


def test_the_image_may_be_made_of_all_that_the_script_needs() -> None:
    allowed = (DEPLOY / "docker" / ".dockerignore").read_text().splitlines()
    assert {"!tee-limit", "!tee-limit.*", "!limits.sh"} <= set(allowed)


def test_other_words_are_refused(node: Node) -> None:
    assert node.run().returncode == 2
    assert "usage: limits.sh" in node.run("instal").stderr


@pytest.mark.parametrize("kind", ["service", "path", "timer"])
def test_the_units_are_what_systemd_knows(kind: str) -> None:
    unit = DEPLOY / "systemd" / f"tee-limit.{kind}"
    try:
        told = subprocess.run(
            ["systemd-analyze", "verify", unit],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("systemd-analyze is missing (Debian package systemd)")
    lines = [line for line in told.stderr.splitlines() if "tee-limit." in line]
    assert [line for line in lines if f"{HOOK_PATH} is not executable" not in line] == []
