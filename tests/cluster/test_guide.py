"""The guide's blocks that need a cluster, typed in the order of their pages."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import building
from tests.cluster.deploying import (
    DAEMON_SET,
    DEMO_IMAGE,
    IMAGE,
    ITRUSTEE_UNITS,
    LABEL,
    NAMESPACE,
    Shell,
    clear,
    deployed,
    shell,
    wait_for_plugin,
    wait_until_settled,
)
from tests.cluster.lab import Lab
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import NODE_NAME
from tests.docs.pages import blocks

__all__ = ["shell"]  # the fixture

NEWER_IMAGE = "lab.local/tee-device-plugin:2"
CREATE = "kubectl create -f deploy/tee-device-plugin.yml"
ROLL_OUT = "rollout status"

PLACEHOLDERS = {
    "REGISTRY/tee-device-plugin:0.1.0": IMAGE,
    "REGISTRY/tee-device-plugin:0.2.0": NEWER_IMAGE,
    "REGISTRY/tee-demo:0.1.0": DEMO_IMAGE,
    "node NODE": f"node {NODE_NAME}",
    "nodes NODE": f"nodes {NODE_NAME}",
    "nodeName=NODE": f"nodeName={NODE_NAME}",
}


class Reader:
    """Types a page's blocks as its reader would, with names in the place of the guide's."""

    def __init__(self, shell: Shell, node: Path) -> None:
        self.shell = shell
        # The files of iTrustee are not this machine's: mocks lie in a folder of their own.
        self._placeholders = PLACEHOLDERS | {" /usr/": f" {node}/usr/"}

    def read(self, page: str) -> Iterator[tuple[str, str]]:
        """Type one block after the other; each with what it printed."""
        found = [block for block in blocks(page) if block.on_a_cluster]
        assert found, page
        for block in found:
            body = block.body
            for placeholder, name in self._placeholders.items():
                body = body.replace(placeholder, name)
            assert "NODE" not in body.replace("NODE:", ""), block.name
            assert "REGISTRY" not in body, block.name
            if ROLL_OUT in body:
                wait_until_settled(self.shell.lab)
            yield block.body, self.shell.typed(f"set -eu\n{body}")


@pytest.fixture(scope="module")
def reader(lab: Lab, shell: Shell) -> Reader:
    """A reader in a checkout in which nothing was typed yet but `make`."""
    place = shell.folder.parent
    checkout = building.copy_sources(place / "guide")
    shutil.copytree(shell.folder / "pkg", checkout / "pkg")
    return Reader(Shell(lab, checkout, place / "programs"), place / "node")


@pytest.mark.timeout(600, func_only=True)  # two images are built
def test_the_installation_ends_with_a_pod_and_its_removal_with_nothing(
    lab: Lab, reader: Reader
) -> None:
    wait_for_allocatable(lab, 0)
    printed = []
    try:
        for block, output in reader.read("docs/installation.md"):
            printed.append(output)
            if "docker push" in block:
                reader.shell.wait_for_image(DEMO_IMAGE if "tee-demo" in block else IMAGE)
            if CREATE in block:
                wait_for_plugin(lab)
                wait_for_allocatable(lab, ITRUSTEE_UNITS)
        everything = "\n".join(printed)
        assert str(ITRUSTEE_UNITS) in [output.strip() for output in printed]
        assert f"{DAEMON_SET}-" in everything
        assert "demo-ca: 10 units of 524288 bytes: 5242880 bytes" in everything
        assert f"{ITRUSTEE_UNITS} listed, {ITRUSTEE_UNITS} healthy, 10 allocated" in everything
        assert "default/test-pod-ta" in everything
        assert re.search(r"huawei.com/tee-ram +10 ", everything)
        assert lab.get("daemonset", DAEMON_SET, NAMESPACE) is None
        assert lab.get("pod", "test-pod-ta") is None
        labels = (lab.get("node", NODE_NAME) or {})["metadata"]["labels"]
        assert LABEL.partition("=")[0] not in labels
    finally:
        clear(lab)


def test_the_operators_commands_watch_update_and_go_back(lab: Lab, reader: Reader) -> None:
    shell = reader.shell
    shell.typed(f"docker tag tee-device-plugin {NEWER_IMAGE} && docker push {NEWER_IMAGE}")
    shell.wait_for_image(NEWER_IMAGE)
    wait_for_allocatable(lab, 0)
    images = []
    with deployed(shell, CREATE):
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
        printed = ""
        for _, output in reader.read("docs/operations.md"):
            printed += output
            images.append(_image(lab))
        assert f"{NODE_NAME}   {ITRUSTEE_UNITS}" in printed
        assert f"{ITRUSTEE_UNITS} listed, {ITRUSTEE_UNITS} healthy" in printed
        assert NEWER_IMAGE in images
        assert images[-1] == IMAGE
        wait_for_plugin(lab)
    wait_for_allocatable(lab, 0)


def _image(lab: Lab) -> str:
    found = lab.get("daemonset", DAEMON_SET, NAMESPACE)
    assert found is not None
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


def original() -> dict[str, Any]:
    """A DaemonSet as the original's: its name and selector, privileged, with volumes of its own."""
    labels = {"name": DAEMON_SET}
    container = {
        "name": "k8s-tee-device-plugin-ctr",
        "image": DEMO_IMAGE,
        "command": ["sleep", "infinity"],
        "securityContext": {"privileged": True},
        "volumeMounts": [{"name": "old", "mountPath": "/old"}],
    }
    spec = {
        "nodeSelector": {"teetype": "trustzone"},
        "containers": [container],
        "volumes": [{"name": "old", "hostPath": {"path": "/var"}}],
        "terminationGracePeriodSeconds": 0,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": DAEMON_SET,
            "namespace": NAMESPACE,
            # For the test only, which takes away what has it.
            "labels": {"app.kubernetes.io/name": "tee-device-plugin"},
        },
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def test_the_originals_daemon_set_is_replaced_and_nothing_of_it_is_left(
    lab: Lab, reader: Reader
) -> None:
    wait_for_allocatable(lab, 0)
    folder = reader.shell.folder
    (folder / "original.json").write_text(json.dumps(original()))
    documents = yaml.safe_load_all((folder / "deploy/tee-device-plugin.yml").read_text())
    (ours,) = (one["spec"]["template"]["spec"] for one in documents if one["kind"] == "DaemonSet")
    with deployed(reader.shell, "kubectl create -f original.json"):
        printed = "".join(output for _, output in reader.read("docs/migration.md"))
        wait_for_allocatable(lab, ITRUSTEE_UNITS)
        assert f"{ITRUSTEE_UNITS} listed, {ITRUSTEE_UNITS} healthy" in printed
        found = (lab.get("daemonset", DAEMON_SET, NAMESPACE) or {})["spec"]["template"]["spec"]
        (container,) = found["containers"]
        assert container["securityContext"] == ours["containers"][0]["securityContext"]
        assert [one["name"] for one in found["volumes"]] == [one["name"] for one in ours["volumes"]]
    wait_for_allocatable(lab, 0)
