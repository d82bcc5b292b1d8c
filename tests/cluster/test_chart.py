"""The Helm chart on a real cluster: installed, tested, upgraded, rolled back, uninstalled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync

from tests.chart.programs import RELEASE, helm
from tests.cluster.deploying import (
    DAEMON_SET,
    IMAGE,
    LABEL,
    NAMESPACE,
    Shell,
    clear,
    deployed,
    overlay,
    plugin_pods,
    shell,
    wait_for_plugin,
)
from tests.cluster.kubelet_watch import Gaps
from tests.cluster.lab import Lab
from tests.cluster.pods import RESOURCE
from tests.cluster.scheduling import wait_for_allocatable
from tests.cluster.settings import NODE_NAME
from tests.cluster.test_deploy_updates import (
    SETTINGS,
    check_rolls,
    create_pods,
    rolled,
)
from tests.cluster.test_life import assert_undisturbed, run_holder
from tests.cluster.waiting import wait_until

__all__ = ["shell"]  # the fixture

UNITS = 128
OTHER = "example.com/tee-sim"
_REGISTRY, _TAG = IMAGE.split("/")[0], IMAGE.rsplit(":", 1)[1]
# What the guide's reader has in a registry, the lab has under this name.
OWN_IMAGE = f"image.registry={_REGISTRY},image.tag={_TAG}"
INSTALL = f"helm install {RELEASE} deploy/chart -n {NAMESPACE} --set {OWN_IMAGE},flavour=simulated"
AS_THE_MANIFEST = f"fullnameOverride={DAEMON_SET}"
TAKE = "--take-ownership --force-conflicts"
KEEP = f"-n {NAMESPACE} --reset-then-reuse-values"


@pytest.fixture
def reader(lab: Lab, shell: Shell) -> Iterator[Shell]:
    """A user with helm, whose node is labelled; afterwards no release is left."""
    lab.kubelet_start()
    wait_for_allocatable(lab, 0)
    shell.program("helm", lab.enter(helm(), f"--kubeconfig={lab.settings.kubeconfig}"))
    shell.typed(f"kubectl label nodes {NODE_NAME} {LABEL} --overwrite")
    with _no_release_left(lab, shell):
        yield shell


@contextmanager
def _no_release_left(lab: Lab, shell: Shell) -> Iterator[None]:
    try:
        yield
    finally:
        for release in shell.typed(f"helm list -q -n {NAMESPACE}").split():
            shell.typed(f"helm uninstall {release} -n {NAMESPACE} --wait")
        lab.kubectl("delete", "pods", "--all", f"--namespace={NAMESPACE}", "--wait")
        clear(lab)


def test_the_quick_start_and_what_an_uninstall_leaves(
    lab: Lab, reader: Shell, record_property: Callable[[str, object], None]
) -> None:
    began = monotonic()
    print(reader.typed(f"{INSTALL} --wait"))
    tested = reader.typed(f"helm test {RELEASE} -n {NAMESPACE} --logs")
    record_property("install_and_test_seconds", round(monotonic() - began, 1))
    print(tested)
    assert "nothing failed" in tested
    assert "units: 1, bytes: 524288" in tested
    wait_for_allocatable(lab, UNITS)
    holder = run_holder(lab)
    reader.typed(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait")
    wait_for_allocatable(lab, 0)
    assert_undisturbed(lab, holder)
    assert lab.kubectl("get", "configmaps,daemonsets", "-A", "-lhelm.sh/chart", "-oname") == ""


@pytest.mark.anyio
async def test_from_the_manifests_through_an_upgrade_and_back_pods_keep_their_units(
    lab: Lab, reader: Shell, record_property: Callable[[str, object], None]
) -> None:
    await run_sync(lab.kubectl, "label", "node", NODE_NAME, "teetype-")
    overlay(reader, "before-chart", SETTINGS)
    with deployed(reader, "kubectl apply -k deploy/overlays/before-chart"):
        wait_for_allocatable(lab, UNITS)
        holder = run_holder(lab)
        names: list[str] = []
        found: dict[str, Gaps] = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create_pods, lab, names)
            take = f"{INSTALL},{AS_THE_MANIFEST},settings.health-interval=10 {TAKE}"
            found["to the chart"] = await rolled(reader, take)
            upgrade = f"helm upgrade {RELEASE} deploy/chart {KEEP} --set settings.log-level=debug"
            found["upgrade"] = await rolled(reader, upgrade)
            back = f"helm rollback {RELEASE} -n {NAMESPACE}"
            found["rollback"] = await rolled(reader, back)
            tasks.cancel_scope.cancel()
        check_rolls(lab, found, names, record_property)
        assert_undisturbed(lab, holder)
        # As the page says: what the manifests left.
        ours = "app.kubernetes.io/name=tee-device-plugin,app.kubernetes.io/managed-by!=Helm"
        reader.typed(f"kubectl -n {NAMESPACE} delete configmap -l '{ours}'")
        assert wait_for_plugin(lab)
        reader.typed(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait")
        assert_undisturbed(lab, holder)


def test_two_releases_with_two_resources_share_a_node(lab: Lab, reader: Shell) -> None:
    reader.typed(f"{INSTALL} --wait")
    second = f"helm install tee-sim deploy/chart -n {NAMESPACE} --wait"
    options = f"{OWN_IMAGE},flavour=simulated,resourceName={OTHER},backendOptions.total=32MiB"
    reader.typed(f"{second} --set {options}")
    wait_for_allocatable(lab, UNITS)
    wait_until("the second's units", partial(lab.allocatable, OTHER), 30, accept=(64).__eq__)
    for name, resource in (("first", RESOURCE), ("second", OTHER)):
        pod: dict[str, Any] = lab.pod(name, 10)
        pod["spec"]["containers"][0]["resources"]["limits"] = {resource: "10"}
        lab.run_pod(pod)
    for release in (RELEASE, "tee-sim"):
        tested = reader.typed(f"helm test {release} -n {NAMESPACE} --logs")
        assert "nothing failed" in tested
    reader.typed(f"helm uninstall tee-sim -n {NAMESPACE} --wait")
    wait_until(
        "the second's units are gone", partial(lab.allocatable, OTHER), 30, accept=(0).__eq__
    )
    assert lab.allocatable() == UNITS


def test_what_cant_be_installed_is_said_in_one_line_and_nothing_is_there(
    lab: Lab, reader: Shell
) -> None:
    said = reader.typed(f"{INSTALL},settings.precision=5", fails=True)
    print(said)
    (line,) = [line for line in said.splitlines() if line]
    assert 'settings.precision: "5" is not a whole number' in line
    assert "; fix: set settings.precision" in line
    assert lab.get("daemonset", RELEASE, NAMESPACE) is None


def test_an_upgrade_whose_pods_never_get_ready_goes_back_by_itself(lab: Lab, reader: Shell) -> None:
    reader.typed(f"{INSTALL},{AS_THE_MANIFEST} --wait")
    wait_for_allocatable(lab, UNITS)
    before = wait_for_plugin(lab)
    # The chart can't know how much memory the TEE has.
    wrong = "settings.precision=1048576 --wait --timeout 15s --rollback-on-failure"
    said = reader.typed(f"helm upgrade {RELEASE} deploy/chart {KEEP} --set {wrong}", fails=True)
    print(said)
    wait_until(
        "the older pod alone is left",
        lambda: [pod["metadata"]["uid"] for pod in plugin_pods(lab)],
        60,
        accept=lambda uids: uids == [before["metadata"]["uid"]],
    )
    assert lab.allocatable() == UNITS
