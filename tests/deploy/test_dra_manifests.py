"""DRA mode's manifests: valid, with the least rights, and fit for the driver's code."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest

from teeplugin.config.settings import SETTINGS
from teeplugin.dra.registration import driver_directory, registry_directory
from teeplugin.dra.resources import DRIVER
from tests.deploy.files import DEPLOY, document, documents

COMPONENT = DEPLOY / "components" / "dra"
KUBELET = Path("/var/lib/kubelet")
CLAIM = DEPLOY / "test-claim.yml"
CLASS = document(COMPONENT / "device-class.yaml", "DeviceClass")


@pytest.mark.parametrize(
    "path",
    [*(COMPONENT / f"{name}.yaml" for name in ("access", "own-node", "device-class")), CLAIM],
    ids=lambda path: path.name,
)
def test_a_manifest_has_only_fields_that_kubernetes_knows(path: Any) -> None:
    for one in documents(path):
        assert kubernetes_validate.validate(one, "1.37", strict=True) == "1.37"


def test_the_class_takes_no_extended_resource() -> None:
    """With one, pods that ask for more than 32 units are unschedulable in the whole cluster."""
    assert set(CLASS["spec"]) == {"selectors"}
    (selector,) = CLASS["spec"]["selectors"]
    assert selector == {"cel": {"expression": f'device.driver == "{DRIVER}"'}}


def test_the_driver_has_the_least_rights() -> None:
    role = document(COMPONENT / "access.yaml", "ClusterRole")
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert rights == {
        ("resource.k8s.io", "resourceslices"): {
            "get",
            "list",
            "watch",
            "create",
            "patch",
            "delete",
        },
        ("resource.k8s.io", "resourceclaims"): {"get"},
        ("", "nodes"): {"get"},
    }


def test_the_policy_is_about_the_account_and_denies() -> None:
    account = document(COMPONENT / "access.yaml", "ServiceAccount")["metadata"]
    policy = document(COMPONENT / "own-node.yaml", "ValidatingAdmissionPolicy")
    binding = document(COMPONENT / "own-node.yaml", "ValidatingAdmissionPolicyBinding")
    name = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"] == f'request.userInfo.username == "{name}"'
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert binding["spec"]["validationActions"] == ["Deny"]
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert set(rule["operations"]) == {"CREATE", "UPDATE", "DELETE"}


def test_the_driver_is_told_its_way_and_its_node() -> None:
    spec = document(COMPONENT / "driver.yaml", "DaemonSet")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    given = {one["name"] for one in container["env"]}
    assert given == {SETTINGS["serve"].variable, SETTINGS["node-name"].variable}
    assert spec["automountServiceAccountToken"] is True
    account = document(COMPONENT / "access.yaml", "ServiceAccount")["metadata"]
    assert spec["serviceAccountName"] == account["name"]
    # Where the device plugin writes the driver doesn't, and no CDI directory is mounted.
    mounts = {one["mountPath"] for one in container["volumeMounts"] if "name" in one}
    assert mounts == {str(driver_directory(KUBELET)), str(registry_directory(KUBELET))}


def test_the_example_claims_of_the_class() -> None:
    template = document(CLAIM, "ResourceClaimTemplate")
    pod = document(CLAIM, "Pod")
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == CLASS["metadata"]["name"]
    (source,) = pod["spec"]["resourceClaims"]
    assert source["resourceClaimTemplateName"] == template["metadata"]["name"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"]["claims"] == [{"name": source["name"]}]
