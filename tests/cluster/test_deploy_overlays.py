"""The overlays: kubectl builds them, the API server takes them, and they say what they should."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.lab import Lab

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OVERLAYS = ("itrustee", "optee", "simulated", "monitoring")
# What the lab's API server has never heard of: other projects define it.
FOREIGN = {"NodeFeatureRule", "PodMonitor", "PrometheusRule"}
COMBINED = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../itrustee
components:
  - ../../components/node-libraries
  - ../../components/kubernetes-1.18
  - ../../nfd
images:
  - name: tee-device-plugin
    newName: lab.local/tee-device-plugin
    newTag: "7"
"""

Objects = dict[str, list[dict[str, Any]]]


def built(lab: Lab, folder: Path) -> Objects:
    """The objects of an overlay, by their kind."""
    objects: Objects = {}
    for one in yaml.safe_load_all(lab.kubectl("kustomize", str(folder))):
        objects.setdefault(one["kind"], []).append(one)
    return objects


def pod_spec(objects: Objects) -> dict[str, Any]:
    (daemon_set,) = objects["DaemonSet"]
    spec: dict[str, Any] = daemon_set["spec"]["template"]["spec"]
    return spec


def settings_name(objects: Objects) -> str:
    """The ConfigMap that the pods mount."""
    volumes = {volume["name"]: volume for volume in pod_spec(objects)["volumes"]}
    name: str = volumes["config"]["configMap"]["name"]
    return name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_takes_an_overlay(lab: Lab, overlay: str) -> None:
    objects = built(lab, DEPLOY / "overlays" / overlay)
    ours = [one for kind in sorted(objects.keys() - FOREIGN) for one in objects[kind]]
    listed = {"apiVersion": "v1", "kind": "List", "items": ours}
    strict = ("--dry-run=server", "--validate=strict", "--filename=-", "--output=name")
    taken = lab.kubectl("create", *strict, input=json.dumps(listed))
    assert "daemonset.apps/k8s-tee-device-plugin-ds" in taken.split()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_change_of_settings_makes_other_pods(lab: Lab, overlay: str, tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy, symlinks=True)
    before = built(lab, copy / "overlays" / overlay)
    names = [one["metadata"]["name"] for one in before["ConfigMap"]]
    assert settings_name(before) in names
    assert "tee-device-plugin" not in names
    changed = copy / "overlays" / overlay.replace("monitoring", "itrustee") / "config.yaml"
    changed.write_text(changed.read_text() + "log-level: debug\n")
    after = built(lab, copy / "overlays" / overlay)
    assert settings_name(after) != settings_name(before)


def test_the_overlay_for_itrustee_is_the_plain_manifest_but_for_its_settings(lab: Lab) -> None:
    (plain,) = [
        one
        for one in yaml.safe_load_all((DEPLOY / "tee-device-plugin.yml").read_text())
        if one["kind"] == "DaemonSet"
    ]
    objects = built(lab, DEPLOY / "overlays" / "itrustee")
    (daemon_set,) = objects["DaemonSet"]
    for volume in pod_spec(objects)["volumes"]:
        if volume["name"] == "config":
            volume["configMap"]["name"] = "tee-device-plugin"
    assert daemon_set == plain


def test_the_overlay_for_op_tee_is_privileged_and_no_other(lab: Lab) -> None:
    for overlay in OVERLAYS:
        (container,) = pod_spec(built(lab, DEPLOY / "overlays" / overlay))["containers"]
        assert container["securityContext"]["privileged"] is (overlay == "optee")


def test_components_can_be_combined(lab: Lab, tmp_path: Path) -> None:
    copy = tmp_path / "deploy"
    shutil.copytree(DEPLOY, copy, symlinks=True)
    (copy / "overlays" / "combined").mkdir()
    (copy / "overlays" / "combined" / "kustomization.yaml").write_text(COMBINED)
    objects = built(lab, copy / "overlays" / "combined")
    (daemon_set,) = objects["DaemonSet"]
    spec = pod_spec(objects)
    (container,) = spec["containers"]
    assert container["image"] == "lab.local/tee-device-plugin:7"
    # The node's libraries.
    (path,) = [one["value"] for one in container["env"] if one["name"] == "LD_LIBRARY_PATH"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {f"{path}/libteec.so", f"{path}/libboundscheck.so"} <= mounted
    # An older Kubernetes.
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1}
    assert "seccompProfile" not in spec["securityContext"]
    # Node Feature Discovery.
    assert spec["nodeSelector"] == {"feature.node.kubernetes.io/teetype": "trustzone"}
    assert len(objects["NodeFeatureRule"]) == 1


def test_the_overlay_for_monitoring_brings_what_watches_the_pods(lab: Lab) -> None:
    objects = built(lab, DEPLOY / "overlays" / "monitoring")
    assert {"DaemonSet", "PodMonitor", "PrometheusRule"} <= objects.keys()
