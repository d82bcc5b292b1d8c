"""DRA on the lab: access, a token that is bound to the node, CDI devices, the plugin, claims."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from teeplugin.dra.resources import DEVICE, slice_name
from teeplugin.policy.cdi_spec import FILE
from tests.cluster.configuration import kubeconfig
from tests.cluster.lab import Lab
from tests.cluster.real_kubelet import Real
from tests.cluster.scheduling import SCHEDULER_SECONDS, unscheduled_because
from tests.cluster.settings import NODE_NAME
from tests.cluster.waiting import wait_until
from tests.plugin_process import Plugin

UNITS = 128
SLICE = slice_name(NODE_NAME)
ACCOUNT = "tee-device-plugin"
NAMESPACE = "kube-system"
CLASS = "tee-ram"
COMPONENT = Path(__file__).resolve().parents[2] / "deploy" / "components" / "dra"
MOST_UNITS = 64
"""Amounts that the lab's CDI specification has."""


def prepare(lab: Lab, amounts: int = MOST_UNITS) -> None:
    """Give the driver its rights, claims their class, and the runtime its CDI devices."""
    for name in ("access", "own-node", "device-class"):
        lab.apply((COMPONENT / f"{name}.yaml").read_text())
    install_specification(lab, amounts)


def install_specification(lab: Lab, amounts: int = MOST_UNITS) -> None:
    """Put the CDI specification where the lab's runtime looks."""
    directory = lab.settings.config / "cdi"
    directory.mkdir(exist_ok=True)
    # In the place of another test's: of two files with a device of one name neither counts.
    (directory / Path(FILE).name).write_text(specification(amounts))


def specification(amounts: int = MOST_UNITS) -> str:
    """What `cdi` prints: a device for each amount. Nobody is limited, so it has no hook."""
    command = [sys.executable, "-m", "teeplugin", "cdi", "--backend", "simulated"]
    command += ["--units", str(amounts)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def write_kubeconfig(lab: Lab, directory: Path, *, bound: bool = True) -> Path:
    """Write one with a token of the driver's account, as the kubelet mounts it into its pod."""
    words = ["create", "token", ACCOUNT, f"--namespace={NAMESPACE}", "--duration=1h"]
    if bound:
        node = lab.node()["metadata"]
        words += ["--bound-object-kind=Node", f"--bound-object-name={node['name']}"]
    token = directory / ("token" if bound else "unbound")
    token.write_text(lab.kubectl(*words))
    file = directory / f"{token.name}.kubeconfig"
    file.write_text(json.dumps(kubeconfig({"tokenFile": str(token)})))
    return file


def driver(
    lab: Lab,
    directory: Path,
    name: str = "plugin",
    *,
    units: int = UNITS,
    interval_seconds: float = 0.1,
    flags: Sequence[str] = (),
    listen: str = "off",
    config: Path | None = None,
) -> Plugin:
    """The plugin in DRA mode, not yet started."""
    mode = ("--serve", "dra", "--node-name", NODE_NAME)
    interval = ("--health-interval", str(interval_seconds))
    one = Real(lab).plugin(
        directory, name, units=units, flags=(*mode, *interval, *flags), listen=listen
    )
    one.environment["KUBECONFIG"] = str(config or write_kubeconfig(lab, directory))
    return one


@contextmanager
def published(lab: Lab, directory: Path, amounts: int = MOST_UNITS, **how: Any) -> Iterator[Plugin]:
    """Run the driver, from when its slice is there; then clear up."""
    lab.kubelet_start()
    prepare(lab, amounts)
    try:
        with driver(lab, directory, **how) as plugin:
            wait_for_slice(lab, how.get("units", UNITS))
            wait_until("registered", lambda: plugin.count("registered"), 30)
            yield plugin
            lab.kubelet_start()
            lab.delete_all_pods()
    finally:
        lab.kubectl("delete", "resourceclaims,resourceclaimtemplates", "--all", "--wait=false")
        lab.kubectl("delete", "resourceslices", "--all")


def stored(lab: Lab) -> dict[str, Any] | None:
    """The node's slice."""
    return lab.get("resourceslice", SLICE)


def uid(lab: Lab) -> str:
    """The slice's uid: another one means that it was deleted and made anew."""
    found = stored(lab)
    assert found is not None
    return str(found["metadata"]["uid"])


def device(lab: Lab) -> dict[str, Any]:
    """The device in it; empty where there is none."""
    found = stored(lab) or {}
    devices: list[dict[str, Any]] = found.get("spec", {}).get("devices", [])
    return next((each for each in devices if each["name"] == DEVICE), {})


def memory(lab: Lab) -> str | None:
    """The memory that the slice has, as the API writes it."""
    value: str | None = device(lab).get("capacity", {}).get("memory", {}).get("value")
    return value


def taints(lab: Lab) -> list[str]:
    """The keys of the device's taints."""
    return [taint["key"] for taint in device(lab).get("taints", ())]


def wait_for_slice(lab: Lab, units: int, seconds: float = 30) -> None:
    """Wait until the slice has so many units of 512 KiB."""
    value = f"{units // 2}Mi" if units % 2 == 0 else f"{units * 512}Ki"
    wait_until(
        f"{value} are published", partial(memory, lab), seconds, accept=lambda seen: seen == value
    )


def wait_for_taints(lab: Lab, *keys: str) -> None:
    """Wait until the device has these taints and no others."""
    wait_until("the taints", partial(taints, lab), 30, accept=lambda found: found == list(keys))


def claimant(lab: Lab, name: str, amount: str | None, claim: str | None = None) -> dict[str, Any]:
    """A pod with a claim of this amount, of a template, or of the claim that is named."""
    pod = lab.pod(name, 0)
    source = {"resourceClaimName": claim} if claim else {"resourceClaimTemplateName": name}
    pod["spec"]["resourceClaims"] = [{"name": "tee", **source}]
    pod["spec"]["containers"][0]["resources"] = {"claims": [{"name": "tee"}]}
    if claim is None:
        lab.apply(template(name, amount))
    return pod


def template(name: str, amount: str | None) -> dict[str, Any]:
    """A template of claims of this amount; None asks for nothing in particular."""
    exactly: dict[str, Any] = {"deviceClassName": CLASS}
    if amount is not None:
        exactly["capacity"] = {"requests": {"memory": amount}}
    spec = {"devices": {"requests": [{"name": "tee", "exactly": exactly}]}}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": name},
        "spec": {"spec": spec},
    }


def consumed(lab: Lab, pod: str) -> str:
    """What a pod's claim consumes, as the scheduler has written it."""
    found = lab.get("pod", pod) or {}
    (status,) = found["status"]["resourceClaimStatuses"]
    claim = lab.get("resourceclaim", status["resourceClaimName"])
    assert claim is not None
    (result,) = claim["status"]["allocation"]["devices"]["results"]
    amount: str = result["consumedCapacity"]["memory"]
    return amount


def units_in(lab: Lab, pod: str) -> str:
    """How many units a pod's container has, by its own variables."""
    return lab.exec(pod, "sh", "-c", "echo $TEE_RAM_UNITS").strip()


def waits_because(lab: Lab, pod: str, *words: str) -> str:
    """Wait until the scheduler says why a pod waits, and give its words."""
    return wait_until(
        f"pod {pod} waits",
        partial(unscheduled_because, lab, pod),
        SCHEDULER_SECONDS,
        accept=lambda said: bool(said) and all(word in said for word in words),
    )


def refused_because(lab: Lab, pod: str) -> str:
    """Wait until the kubelet says why a pod's claims can't be prepared, and give its words."""
    words = ("get", "events", "--output=jsonpath={.items[*].message}")
    of_the_pod = f"--field-selector=involvedObject.name={pod},reason=FailedPrepareDynamicResources"
    return wait_until(f"pod {pod} is refused", partial(lab.kubectl, *words, of_the_pod), 60)
