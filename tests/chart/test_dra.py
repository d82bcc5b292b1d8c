"""The chart with `serve: dra`: valid objects, the kubelet's root directory, accounts."""

from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types

from tests.chart.cases import DRA
from tests.chart.programs import NAMESPACE, of_kind, rendered


def test_dra_objects_have_only_fields_that_kubernetes_knows(tmp_path: Path) -> None:
    objects = rendered(DRA.values, tmp_path, kubernetes="1.37.0")
    kinds = {one["kind"] for one in objects}
    assert kinds >= {"ServiceAccount", "ClusterRole", "DeviceClass", "ResourceClaimTemplate"}
    for one in objects:
        assert kubernetes_validate.validate(one, "1.37", strict=True) == "1.37"


def test_dra_follows_the_kubelets_root_directory(tmp_path: Path) -> None:
    root = "/var/lib/k0s/kubelet"
    values = DRA.values | {"kubelet": {"podResourcesDir": f"{root}/pod-resources"}}
    spec = of_kind(rendered(values, tmp_path), "DaemonSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    paths = {one["name"]: one["hostPath"]["path"] for one in spec["volumes"] if "hostPath" in one}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    for name in ("plugins", "plugins-registry", "pod-resources"):
        # The kubelet dials the path that the driver names.
        assert paths[name] == mounts[name]
        assert paths[name].startswith(root)
    (given,) = [one for one in container["env"] if one["name"] == "TEEPLUGIN_POD_RESOURCES_DIR"]
    assert given["value"] == f"{root}/pod-resources"


def test_another_account_is_given_the_rights(tmp_path: Path) -> None:
    objects = rendered(DRA.values | {"serviceAccountName": "own"}, tmp_path)
    assert "ServiceAccount" not in {one["kind"] for one in objects}
    (subject,) = of_kind(objects, "ClusterRoleBinding")["subjects"]
    assert subject["name"] == "own"
    policy = of_kind(objects, "ValidatingAdmissionPolicy")["spec"]
    (condition,) = policy["matchConditions"]
    assert f"system:serviceaccount:{NAMESPACE}:own" in condition["expression"]
