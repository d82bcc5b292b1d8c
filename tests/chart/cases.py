"""Values of the chart, and the Kustomizations that say the same."""

from dataclasses import dataclass, field
from typing import Any

VERSIONS = ("1.25", "1.37")
"""The oldest and the newest that kubernetes-validate has."""

PLAIN_NAME = "k8s-tee-device-plugin-ds"


@dataclass(frozen=True)
class Case:
    """Values of the chart, and the Kustomization that says the same."""

    values: dict[str, Any]
    kustomization: dict[str, Any]
    config: dict[str, Any] | None = None
    """The config.yaml of the Kustomization, where it isn't the overlay's own."""

    patch: dict[str, Any] = field(default_factory=dict)
    """A patch of the pod template's spec."""

    kubernetes: str = "1.37.0"
    oldest: str = VERSIONS[0]
    """The chart refuses these values on an older Kubernetes."""


def config(**settings: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"precision": 512, "health-interval": 60, "log-format": "json"}
    options = {"backend": "libteec", "backend-options": {"flavour": "itrustee"}}
    return plain | options | {name.replace("_", "-"): value for name, value in settings.items()}


CONTAINER = "k8s-tee-device-plugin-ctr"
OWN_SPEC = {
    "nodeSelector": {"teetype": "optee", "zone": "a"},
    "tolerations": [{"key": "tee", "operator": "Equal", "value": "only"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "important",
    "serviceAccountName": "puller",
    "imagePullSecrets": [{"name": "registry"}],
}
OWN_CONTAINER = {
    "env": [{"name": "TZ", "value": "Asia/Shanghai"}],
    "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
}
ACME_VOLUME = {"name": "acme", "hostPath": {"path": "/run/acme", "type": "Directory"}}
ACME_MOUNT = {"name": "acme", "mountPath": "/host/run/acme", "readOnly": True}
CASES = {
    "itrustee": Case({}, {"resources": ["../itrustee"]}),
    "optee": Case({"flavour": "optee"}, {"resources": ["../optee"]}),
    "simulated": Case(
        {"flavour": "simulated", "settings": {"health-interval": 10}},
        {"resources": ["../simulated"]},
    ),
    "another-package's": Case(
        {"flavour": "other", "backend": "acme", "backendOptions": {"device": "/dev/acme0"}},
        {"resources": ["../simulated"]},
        config(**{"backend": "acme", "backend-options": {"device": "/dev/acme0"}}),
    ),
    "what-a-backend-needs": Case(
        {
            "flavour": "other",
            "backend": "acme",
            "extraVolumes": [ACME_VOLUME],
            "extraVolumeMounts": [ACME_MOUNT],
            "privileged": True,
        },
        {"resources": ["../simulated"]},
        config(**{"backend": "acme", "backend-options": {}}),
        patch={
            "volumes": [ACME_VOLUME],
            "containers": [
                {
                    "name": CONTAINER,
                    "volumeMounts": [ACME_MOUNT],
                    "securityContext": {"privileged": True, "allowPrivilegeEscalation": None},
                }
            ],
        },
    ),
    "node-libraries": Case(
        {"nodeLibraries": {"enabled": True}},
        {"resources": ["../itrustee"], "components": ["../../components/node-libraries"]},
    ),
    "limits": Case(
        {"limits": {"enabled": True}},
        {"resources": ["../itrustee"], "components": ["../../components/limits"]},
        oldest="1.29",
    ),
    "k0s": Case(
        {"kubelet": {"podResourcesDir": "/var/lib/k0s/kubelet/pod-resources"}},
        {"resources": ["../itrustee"], "components": ["../../components/k0s"]},
    ),
    "kubernetes-1.18": Case(
        {},
        {"resources": ["../itrustee"], "components": ["../../components/kubernetes-1.18"]},
        kubernetes="1.18.20",
    ),
    "nfd": Case(
        {"nfd": {"enabled": True}},
        {"resources": ["../itrustee"], "components": ["../../nfd"]},
    ),
    "monitoring": Case(
        {
            "monitoring": {
                name: {"enabled": True} for name in ("podMonitor", "prometheusRule", "dashboard")
            }
        },
        {"resources": ["../monitoring"]},
    ),
    "image": Case(
        {"image": {"registry": "registry.example:5000", "digest": f"sha256:{'0' * 64}"}},
        {
            "resources": ["../itrustee"],
            "images": [
                {
                    "name": "tee-device-plugin",
                    "newName": "registry.example:5000/tee-device-plugin",
                    "digest": f"sha256:{'0' * 64}",
                }
            ],
        },
    ),
    "settings": Case(
        {
            "settings": {"precision": 1024, "reserve": "700MiB", "log-level": "debug"},
            "resourceName": "example.com/tee",
            "backendOptions": {"uuid": "e3d37f4a-f24c-48d0-8884-3bdd6c44e988"},
        },
        {"resources": ["../itrustee"]},
        config(
            precision=1024,
            reserve="700MiB",
            log_level="debug",
            resource_name="example.com/tee",
            backend_options={
                "flavour": "itrustee",
                "uuid": "e3d37f4a-f24c-48d0-8884-3bdd6c44e988",
            },
        ),
    ),
    "pod": Case(
        {**OWN_SPEC, **OWN_CONTAINER, "seLinuxType": ""},
        {"resources": ["../itrustee"]},
        patch={
            **OWN_SPEC,
            "securityContext": {"seLinuxOptions": None},
            "containers": [{"name": CONTAINER, **OWN_CONTAINER}],
        },
    ),
    "everything": Case(
        {
            "nodeLibraries": {"enabled": True},
            "nfd": {"enabled": True},
            "image": {"tag": "7"},
            "networkPolicy": {"enabled": True, "from": [{"podSelector": {}}]},
            "telemetry": {"port": 9840},
        },
        {
            "resources": ["../itrustee"],
            "components": ["../../components/node-libraries", "../../nfd"],
            "images": [{"name": "tee-device-plugin", "newTag": "7"}],
        },
    ),
}


DRA = Case({"serve": "dra"}, {"resources": ["../itrustee"], "components": ["../../components/dra"]})
DRA_LIMITED = Case(
    {"serve": "dra", "limits": {"enabled": True}},
    {
        "resources": ["../itrustee"],
        "components": ["../../components/dra", "../../components/limits"],
    },
)
