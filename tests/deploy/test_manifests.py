"""The manifests: valid on old and new Kubernetes, unprivileged, fit for the plugin's code."""

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml

from teeplugin.config.go_flags import read_flags
from teeplugin.config.settings import Settings
from teeplugin.config.sources import load
from teeplugin.tee.entry_points import load_backend
from teeplugin_backends.base import ContainerAccess
from teeplugin_backends.libteec import LibTeec
from tests.deploy.files import DEPLOY, PLAIN, document, documents

VERSIONS = ("1.25", "1.37")
OVERLAYS = ("itrustee", "optee", "simulated")
TEST_POD = DEPLOY / "test-pod.yml"

DAEMON_SET = document(PLAIN, "DaemonSet")
POD_SPEC = DAEMON_SET["spec"]["template"]["spec"]
(CONTAINER,) = POD_SPEC["containers"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", [PLAIN, TEST_POD], ids=lambda path: path.name)
def test_a_manifest_has_only_fields_that_kubernetes_knows(path: Path, version: str) -> None:
    for one in documents(path):
        assert kubernetes_validate.validate(one, version, strict=True) == version


def test_the_plain_manifest_is_the_overlays_base() -> None:
    assert PLAIN.resolve() == DEPLOY / "base" / "tee-device-plugin.yml"


def test_names_are_those_of_the_users_guide() -> None:
    assert DAEMON_SET["metadata"]["name"] == "k8s-tee-device-plugin-ds"
    assert DAEMON_SET["metadata"]["namespace"] == "kube-system"
    # The original's, which can't be changed when its DaemonSet is replaced.
    assert DAEMON_SET["spec"]["selector"] == {"matchLabels": {"name": "k8s-tee-device-plugin-ds"}}
    assert POD_SPEC["nodeSelector"] == {"teetype": "trustzone"}
    assert CONTAINER["command"] == ["/vendor/bin/tee-device-plugin"]
    pod = document(TEST_POD, "Pod")
    assert pod["metadata"]["name"] == "test-pod-ta"
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"huawei.com/tee-ram": 10}


# What it may do


def test_the_container_has_no_privilege() -> None:
    assert CONTAINER["securityContext"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD_SPEC["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD_SPEC["automountServiceAccountToken"] is False
    for namespace in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        # Another pid namespace would be another group in the TEE, too.
        assert namespace not in POD_SPEC


def host_paths() -> dict[str, str]:
    """Each hostPath volume's path by its name."""
    return {
        volume["name"]: volume["hostPath"]["path"]
        for volume in POD_SPEC["volumes"]
        if "hostPath" in volume
    }


def test_only_the_kubelets_plugin_directory_may_be_written() -> None:
    writable = {one["name"] for one in CONTAINER["volumeMounts"] if not one.get("readOnly")}
    assert writable == {"device-plugins"}


def test_directories_are_mounted_and_no_socket_or_device() -> None:
    for volume in POD_SPEC["volumes"]:
        if "hostPath" in volume:
            assert volume["hostPath"]["type"] in {"Directory", "DirectoryOrCreate"}
            assert not volume["hostPath"]["path"].endswith(".sock")


# What the code needs


def settings(config: str, tmp_path: Path) -> Settings:
    """Read a configuration as the container does: its own arguments, that file."""
    file = tmp_path / "config.yaml"
    file.write_text(config)
    arguments = [
        f"--config={file}" if word.startswith("--config=") else word for word in CONTAINER["args"]
    ]
    # The mounts under these are the container's.
    arguments = [f"--host-root={tmp_path}" if "host-root" in word else word for word in arguments]
    return load(read_flags(arguments, {}).values, {}).settings


def test_the_plain_settings_are_the_plugins_defaults_but_for_the_log(tmp_path: Path) -> None:
    read = settings(document(PLAIN, "ConfigMap")["data"]["config.yaml"], tmp_path)
    own = {"listen", "host_root", "log_format"}
    assert read.model_dump(exclude=own) == Settings().model_dump(exclude=own)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlays_settings_are_taken_by_the_plugin_and_its_backend(
    overlay: str, tmp_path: Path
) -> None:
    config = (DEPLOY / "overlays" / overlay / "config.yaml").read_text()
    read = settings(config, tmp_path)
    load_backend(read.backend, read.backend_options)


def test_the_configuration_is_where_the_container_looks_for_it() -> None:
    (file,) = [word for word in CONTAINER["args"] if word.startswith("--config=")]
    folder, _, name = file.partition("=")[2].rpartition("/")
    (mount,) = [one for one in CONTAINER["volumeMounts"] if one["mountPath"] == folder]
    assert "subPath" not in mount  # such a file is never renewed
    assert name in document(PLAIN, "ConfigMap")["data"]


def needed(access: ContainerAccess) -> set[str]:
    mounts = {mount.host_path for mount in access.mounts}
    return mounts | {device.host_path for device in access.devices}


def test_all_that_containers_are_promised_can_be_looked_for_on_the_node() -> None:
    backend = LibTeec.from_options({"flavour": "itrustee"})
    volumes = host_paths()
    seen = {
        mount["mountPath"]: volumes[mount["name"]]
        for mount in CONTAINER["volumeMounts"]
        if mount["name"] in volumes
    }
    for path in needed(backend.access()):
        assert any(
            f"/host{path}".startswith(f"{at}/") and path.startswith(f"{volume}/")
            for at, volume in seen.items()
            if at == f"/host{volume}"
        ), path


def test_probes_and_metrics_are_asked_at_the_address_that_is_listened_on(tmp_path: Path) -> None:
    (port,) = CONTAINER["ports"]
    assert settings("", tmp_path).listen == f":{port['containerPort']}"
    for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
        asked = CONTAINER[f"{probe}Probe"]["httpGet"]
        assert (asked["port"], asked["path"]) == (port["name"], path)


def test_the_pod_monitor_finds_the_pods_and_their_port() -> None:
    monitor = document(DEPLOY / "chart" / "files" / "pod-monitor.yaml", "PodMonitor")["spec"]
    labels = DAEMON_SET["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["podMetricsEndpoints"][0]["port"] == CONTAINER["ports"][0]["name"]


# Updates


def test_the_newer_pod_is_there_before_the_older_one_goes() -> None:
    assert DAEMON_SET["spec"]["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert DAEMON_SET["spec"]["minReadySeconds"] >= 3
    # Two of them run at that time: none may need what only one can have.
    assert all("hostPort" not in port for port in CONTAINER["ports"])


def test_the_kubelets_directories_are_those_of_every_kubelet() -> None:
    paths = host_paths()
    assert paths["device-plugins"] == str(Settings().device_plugins_dir)
    assert paths["pod-resources"] == str(Settings().pod_resources_socket.parent)


def test_another_root_directory_moves_pod_resources_and_nothing_else() -> None:
    patch = document(DEPLOY / "components" / "k0s" / "pod-resources.yaml", "DaemonSet")
    assert patch["spec"]["template"]["spec"] == {
        "volumes": [
            {"name": "pod-resources", "hostPath": {"path": "/var/lib/k0s/kubelet/pod-resources"}}
        ]
    }


# Overlays


def kustomizations() -> list[Path]:
    return sorted(DEPLOY.rglob("kustomization.yaml"))


@pytest.mark.parametrize("path", kustomizations(), ids=lambda path: path.parent.name)
def test_a_kustomization_names_files_that_are_there(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    named = [*content.get("resources", ()), *content.get("components", ())]
    named += [patch["path"] for patch in content.get("patches", ())]
    named += [
        file for one in content.get("configMapGenerator", ()) for file in one.get("files", ())
    ]
    assert named
    assert [name for name in named if not (path.parent / name).exists()] == []


def manifests() -> list[Path]:
    """All YAML files but the chart's templates, which tests/chart renders."""
    templates = DEPLOY / "chart" / "templates"
    return [path for path in sorted(DEPLOY.rglob("*.y*ml")) if templates not in path.parents]


@pytest.mark.parametrize("path", manifests(), ids=lambda path: str(path.name))
def test_a_patch_is_for_the_daemon_set_and_container_there_are(path: Path) -> None:
    for one in documents(path):
        if one.get("kind") == "DaemonSet":
            assert one["metadata"]["name"] == DAEMON_SET["metadata"]["name"]
            spec: dict[str, Any] = one["spec"].get("template", {}).get("spec", {})
            named = [container["name"] for container in spec.get("containers", ())]
            assert set(named) <= {CONTAINER["name"]}


def test_only_the_overlay_for_op_tee_is_privileged() -> None:
    privileged = [
        path.relative_to(DEPLOY).parts[:2]
        for path in manifests()
        if "privileged: true" in path.read_text()
    ]
    assert privileged == [("overlays", "optee")]


def test_the_label_that_node_feature_discovery_sets_is_the_one_that_is_selected() -> None:
    rule = document(DEPLOY / "nfd" / "nodefeaturerule.yaml", "NodeFeatureRule")
    patch = document(DEPLOY / "nfd" / "label.yaml", "DaemonSet")
    selected = patch["spec"]["template"]["spec"]["nodeSelector"]
    assert {**rule["spec"]["rules"][0]["labels"], "teetype": None} == selected
