"""What the lab's programs are told: their configuration files and their command lines."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.settings import (
    BRIDGE,
    KUBELET_DIR,
    NODE_ADDRESS,
    NODE_NAME,
    SERVICES,
    Settings,
)

KUBELET_HEALTH_SERVER = "http://127.0.0.1:10248"

_API_SERVER = f"https://{NODE_ADDRESS}"
_ETCD = "http://127.0.0.1:2379"
_ETCD_PEERS = "http://127.0.0.1:2380"

_WITHOUT = {
    1: "-nodeipam,-route",
    28: "-node-ipam-controller,-node-route-controller",
    37: "-node-ipam-controller",
}
"""Controllers that nobody needs here, by the minor from which on they have these names."""

_RUNTIME_IN_FILE = 27
"""From this minor on the kubelet's file names the runtime, before it a flag."""


def write(settings: Settings) -> None:
    """Write every configuration file; done once in the life of a cluster."""
    config = settings.config
    config.mkdir(exist_ok=True)
    token = secrets.token_hex(16)
    _private(config / "tokens.csv", f'{token},admin,admin,"system:masters"\n')
    _private(settings.kubeconfig, _json(kubeconfig({"token": token})))
    _make_key(config / "service-accounts.key")
    settings.versions_record.write_text(str(settings.versions))
    (config / "kubelet.json").write_text(_json(_kubelet(settings)))
    # An own one: this machine's may name a resolver that can't be reached from the lab.
    (config / "resolv.conf").write_text(f"nameserver {NODE_ADDRESS}\n")
    network = config / "cni"
    network.mkdir(exist_ok=True)
    (network / "lab.conflist").write_text(_json(_network(settings)))


def commands(settings: Settings, binaries: Mapping[str, str]) -> Mapping[str, list[str]]:
    """Give the command line of each of Kubernetes' programs and etcd, by the program's name."""
    config = settings.config
    key = config / "service-accounts.key"
    as_admin = [
        f"--kubeconfig={settings.kubeconfig}",
        f"--authentication-kubeconfig={settings.kubeconfig}",
        f"--authorization-kubeconfig={settings.kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]
    return {
        "etcd": [
            binaries["etcd"],
            f"--data-dir={settings.etcd}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEERS}",
            f"--initial-advertise-peer-urls={_ETCD_PEERS}",
            f"--initial-cluster=default={_ETCD_PEERS}",
            "--log-level=warn",
            "--unsafe-no-fsync",
        ],
        "kube-apiserver": _apiserver(settings, binaries, key),
        "kube-scheduler": [binaries["kube-scheduler"], *as_admin],
        "kube-controller-manager": [
            binaries["kube-controller-manager"],
            *as_admin,
            f"--service-account-private-key-file={key}",
            # By which pods know the API server: it has made its own certificate.
            f"--root-ca-file={config / 'apiserver' / 'apiserver.crt'}",
            f"--controllers=*,{_unneeded(settings.versions.control_plane_minor)}",
        ],
        "kubelet": [
            binaries["kubelet"],
            f"--config={config / 'kubelet.json'}",
            f"--kubeconfig={settings.kubeconfig}",
            f"--root-dir={KUBELET_DIR}",
            f"--cert-dir={config / 'kubelet'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
            *_runtime(settings),
            "--v=2",
            # More from the device manager, whose doings these tests are about.
            "--vmodule=manager=4,endpoint=4,handler=4,server=4,client=4,pod_devices=4",
        ],
    }


def _unneeded(minor: int) -> str:
    return _WITHOUT[max(since for since in _WITHOUT if since <= minor)]


def _apiserver(settings: Settings, binaries: Mapping[str, str], key: Path) -> list[str]:
    config = settings.config
    return [
        binaries["kube-apiserver"],
        f"--etcd-servers={_ETCD}",
        # Also by the address and the port that pods know: nothing here routes services.
        "--bind-address=0.0.0.0",
        "--secure-port=443",
        f"--advertise-address={NODE_ADDRESS}",
        f"--cert-dir={config / 'apiserver'}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={config / 'tokens.csv'}",
        # The lab's own programs are in system:masters; plugins in DRA mode are not.
        "--authorization-mode=RBAC",
        "--endpoint-reconciler-type=none",
        "--kubelet-preferred-address-types=InternalIP",
        "--allow-privileged=true",
    ]


def _runtime(settings: Settings) -> list[str]:
    if settings.versions.minor >= _RUNTIME_IN_FILE:
        return []
    endpoint = f"--container-runtime-endpoint=unix://{settings.runtime_socket}"
    return ["--container-runtime=remote", endpoint]


def _kubelet(settings: Settings) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{settings.runtime_socket}",
        "address": NODE_ADDRESS,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "nodeStatusUpdateFrequency": f"{settings.node_status_seconds}s",
        "nodeStatusReportFrequency": f"{settings.node_status_seconds}s",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup_name}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": ["pods"],
        # The machine's swap and its nearly full disk are no matter of these tests.
        "failSwapOn": False,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageMinimumGCAge": "24h",
        "resolvConf": str(settings.config / "resolv.conf"),
        # Nobody answers there; without an address the kubelet warns about every pod.
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "podLogsDir": str(settings.logs / "pods"),
        "volumePluginDir": str(settings.run / "volume-plugins"),
        # There are no services here to route.
        "makeIPTablesUtilChains": False,
        "maxPods": 250,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "0s",
    }


def _network(settings: Settings) -> dict[str, object]:
    addresses = {"subnet": "10.88.0.0/16", "rangeStart": "10.88.1.1"}
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[addresses]],
            # The API server's, by way of the node; named, as CRI-O checks what was made.
            "routes": [{"dst": SERVICES, "gw": NODE_ADDRESS}],
            "dataDir": str(settings.run / "addresses"),
        },
    }
    return {"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]}


def kubeconfig(user: Mapping[str, str]) -> dict[str, object]:
    """Lead a user to the lab's API server."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            # Server and clients share one network namespace; nobody else is there to deceive.
            {"name": "lab", "cluster": {"server": _API_SERVER, "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "admin", "user": dict(user)}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
        "current-context": "lab",
    }


def _make_key(path: Path) -> None:
    _private(path, "")
    generate = ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout"]
    subprocess.run([*generate, "-out", str(path)], check=True, capture_output=True)


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
