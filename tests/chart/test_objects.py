"""What the chart makes: valid on old and new Kubernetes, and what the overlays make as well."""

import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml

from tests.chart.cases import CASES, DRA, DRA_LIMITED, PLAIN_NAME, VERSIONS, Case
from tests.chart.programs import (
    NAMESPACE,
    RELEASE,
    ROOT,
    Object,
    kustomized,
    of_kind,
    rendered,
)

DEPLOY = ROOT / "deploy"
FOREIGN = {"NodeFeatureRule", "PodMonitor", "PrometheusRule"}
"""What other projects define: no schema of Kubernetes' has them."""

ONLY_THE_CHARTS = {"NetworkPolicy", "Pod", "ResourceClaimTemplate"}
"""The manifests have no NetworkPolicy, and neither pods nor claims of `helm test`."""


def by_kustomize(case: Case, folder: Path) -> list[Object]:
    """Build the case's own overlay, in a copy of deploy/."""
    copy = folder / "deploy"
    shutil.copytree(DEPLOY, copy, symlinks=True)
    own = copy / "overlays" / "own"
    own.mkdir()
    kustomization: dict[str, Any] = dict(case.kustomization)
    if "images" not in kustomization:
        kustomization["images"] = [{"name": "tee-device-plugin", "newTag": "0.1.0"}]
    if case.config is not None:
        (own / "config.yaml").write_text(yaml.safe_dump(case.config))
        generated: dict[str, Any] = {"name": "tee-device-plugin-settings", "namespace": NAMESPACE}
        generated |= {"behavior": "replace", "files": ["config.yaml"]}
        kustomization["configMapGenerator"] = [generated]
    if case.patch:
        name = {"name": PLAIN_NAME, "namespace": NAMESPACE}
        patch = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": name}
        patch["spec"] = {"template": {"spec": case.patch}}
        (own / "patch.yaml").write_text(yaml.safe_dump(patch))
        kustomization["patches"] = [{"path": "patch.yaml"}]
    (own / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomized(own)


def comparable(objects: list[Object]) -> dict[str, Object]:
    """Take away what is Helm's or Kustomize's own, and nothing else.

    - Names of objects other than the DaemonSet: Kustomize's ConfigMap is called by its content.
    - Labels of objects, the pods' label of the release, and the checksum of the settings, which
      does what Kustomize's changing name does.
    - config.yaml and the dashboard are texts: their contents are compared.
    - The file that the dashboard is in, which each release calls by its own name.
    """
    found: dict[str, Object] = {}
    for one in objects:
        kind = one["kind"]
        metadata = one["metadata"]
        for name in ("labels", "annotations"):
            metadata.pop(name, None)
        if kind == "ConfigMap":
            ((name, text),) = one["data"].items()
            kind = "Settings" if name == "config.yaml" else "Dashboard"
            one["data"] = yaml.safe_load(text)
        if kind != "DaemonSet":
            metadata.pop("name")
        else:
            template = one["spec"]["template"]
            template["metadata"]["labels"].pop("app.kubernetes.io/instance", None)
            template["metadata"]["annotations"].pop("checksum/config", None)
            for volume in template["spec"]["volumes"]:
                volume.get("configMap", {}).pop("name", None)
            container = template["spec"]["containers"][0]
            container["volumeMounts"].sort(key=lambda mount: str(mount["mountPath"]))
            container.get("env", []).sort(key=lambda variable: str(variable["name"]))
            template["spec"]["volumes"].sort(key=lambda volume: str(volume["name"]))
        assert kind not in found
        found[kind] = one
    return found


WITH_DRA = CASES | {"dra": DRA, "dra-limited": DRA_LIMITED}


@pytest.mark.parametrize("name", WITH_DRA)
def test_the_chart_makes_what_kustomize_makes(name: str, tmp_path: Path) -> None:
    case = WITH_DRA[name]
    values = {"fullnameOverride": PLAIN_NAME, **case.values}
    made = rendered(values, tmp_path, kubernetes=case.kubernetes)
    ours = comparable([one for one in made if one["kind"] not in ONLY_THE_CHARTS])
    assert ours == comparable(by_kustomize(case, tmp_path))
    spec = ours["DaemonSet"]["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


@pytest.mark.parametrize(
    ("name", "version"),
    [(name, version) for name, case in CASES.items() for version in (case.oldest, VERSIONS[1])],
)
def test_an_object_has_only_fields_that_kubernetes_knows(
    name: str, version: str, tmp_path: Path
) -> None:
    objects = rendered(CASES[name].values, tmp_path, kubernetes=f"{version}.0")
    kinds = {one["kind"] for one in objects}
    assert {"ConfigMap", "DaemonSet", "Pod"} <= kinds
    for one in objects:
        if one["kind"] not in FOREIGN:
            assert kubernetes_validate.validate(one, version, strict=True) == version


# Several releases


def test_two_releases_share_no_name_and_no_label(tmp_path: Path) -> None:
    everything = CASES["everything"].values | CASES["monitoring"].values
    first, second = (
        rendered(everything | {"networkPolicy": {"enabled": False}}, tmp_path, release=release)
        for release in (RELEASE, "second")
    )
    names = [{(one["kind"], one["metadata"]["name"]) for one in each} for each in (first, second)]
    assert not names[0] & names[1]
    selectors = [of_kind(each, "DaemonSet")["spec"]["selector"] for each in (first, second)]
    assert selectors[0] != selectors[1]
    for objects, job in ((first, RELEASE), (second, f"second-{RELEASE}")):
        monitor = of_kind(objects, "PodMonitor")["spec"]
        assert monitor["selector"] == of_kind(objects, "DaemonSet")["spec"]["selector"]
        rules = yaml.safe_dump(of_kind(objects, "PrometheusRule"))
        assert f'up{{job="{job}"}}' in rules
        assert PLAIN_NAME not in rules


def test_the_name_is_the_releases_own_where_that_says_what_it_is(tmp_path: Path) -> None:
    long = "a" * 53
    for release, name in (
        (RELEASE, RELEASE),
        ("tee", f"tee-{RELEASE}"),
        (f"my-{RELEASE}", f"my-{RELEASE}"),
        (long, long[:52]),
        # Helm allows dots in a release's name, and the cut may end with one.
        (f"{RELEASE}-{'a' * 33}.b", f"{RELEASE}-{'a' * 33}"),
        ("123", f"123-{RELEASE}"),
    ):
        objects = rendered({}, tmp_path, release=release)
        assert of_kind(objects, "DaemonSet")["metadata"]["name"] == name
        for one in objects:
            assert len(one["metadata"]["name"]) <= 63


# What changes pods, and what doesn't


def test_a_change_of_settings_replaces_the_pods(tmp_path: Path) -> None:
    def annotations(values: dict[str, Any]) -> dict[str, str]:
        template = of_kind(rendered(values, tmp_path), "DaemonSet")["spec"]["template"]
        found: dict[str, str] = template["metadata"]["annotations"]
        return found

    first = annotations({})
    assert annotations({"monitoring": {"prometheusRule": {"enabled": True}}}) == first
    assert annotations({"settings": {"precision": 1024}}) != first
    assert annotations({"resourceName": "example.com/tee"}) != first


def test_nothing_asks_the_api_server(tmp_path: Path) -> None:
    for case in CASES.values():
        objects = rendered(case.values, tmp_path, kubernetes=case.kubernetes)
        kinds = {one["kind"] for one in objects}
        assert not kinds & {"ServiceAccount", "Role", "ClusterRole", "RoleBinding"}
        for one in objects:
            spec = one.get("spec", {})
            if one["kind"] in ("DaemonSet", "Pod"):
                pod = spec["template"]["spec"] if "template" in spec else spec
                assert pod["automountServiceAccountToken"] is False


def test_the_policy_lets_the_named_ones_read_the_metrics_and_nothing_else(tmp_path: Path) -> None:
    peers = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
    objects = rendered({"networkPolicy": {"enabled": True, "from": peers}}, tmp_path)
    policy = of_kind(objects, "NetworkPolicy")["spec"]
    (rule,) = policy["ingress"]
    assert rule == {"from": peers, "ports": [{"port": "telemetry", "protocol": "TCP"}]}
    assert policy["egress"] == []
    # To Kubernetes an empty `from` means everybody.
    nobody = of_kind(rendered({"networkPolicy": {"enabled": True}}, tmp_path), "NetworkPolicy")
    assert nobody["spec"]["ingress"] == []
    dra = rendered({"networkPolicy": {"enabled": True}, "serve": "dra"}, tmp_path)
    assert of_kind(dra, "NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
    assert policy["podSelector"] == of_kind(objects, "DaemonSet")["spec"]["selector"]


# `helm test`


def test_doctor_has_the_plugins_settings_and_mounts(tmp_path: Path) -> None:
    objects = rendered({"nodeLibraries": {"enabled": True}}, tmp_path)
    plugin = of_kind(objects, "DaemonSet")["spec"]["template"]["spec"]
    doctor, units = (one for one in objects if one["kind"] == "Pod")
    own = ("containers", "restartPolicy")
    assert {key: value for key, value in doctor["spec"].items() if key not in own} == {
        key: value for key, value in plugin.items() if key not in own
    }
    (container,), (asked,) = plugin["containers"], doctor["spec"]["containers"]
    for key in ("image", "env", "volumeMounts", "securityContext"):
        assert asked[key] == container[key]
    assert asked["args"][:2] == container["args"][:2]
    (asking,) = units["spec"]["containers"]
    assert asking["resources"] == {"limits": {"huawei.com/tee-ram": 1}}


def test_without_tests_there_are_no_pods(tmp_path: Path) -> None:
    kinds = {one["kind"] for one in rendered({"test": {"enabled": False}}, tmp_path)}
    assert kinds == {"ConfigMap", "DaemonSet"}
