"""`serve: dra` deployed as users do, by the chart and by an overlay: published, rolled, removed."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from tests.chart.programs import RELEASE
from tests.cluster.deploying import (
    DAEMON_SET,
    IMAGE,
    NAMESPACE,
    Shell,
    deployed,
    plugin_log,
    shell,
    wait_for_plugin,
    wait_until_settled,
)
from tests.cluster.dra_lab import (
    claimant,
    install_specification,
    stored,
    uid,
    units_in,
    wait_for_slice,
    waits_because,
)
from tests.cluster.lab import Lab
from tests.cluster.pods import phase
from tests.cluster.test_chart import AS_THE_MANIFEST, INSTALL, KEEP, reader
from tests.cluster.test_deploy_updates import ROLLOUT, WAIT
from tests.cluster.test_life import assert_undisturbed
from tests.cluster.waiting import wait_until

__all__ = ["reader", "shell"]  # the fixtures

UNITS = 128
DRA_INSTALL = f"{INSTALL},serve=dra,limits.enabled=true,{AS_THE_MANIFEST}"
OBJECTS = (
    *("serviceaccount", "clusterrole", "clusterrolebinding"),
    *("validatingadmissionpolicy", "validatingadmissionpolicybinding"),
)
SPECIFICATION = "/etc/cdi/tee-device-plugin.json"
GONE_SECONDS = 60
"""The kubelet deletes a driver's slices 30 s after its last connection has ended."""

OVERLAY = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../simulated
components:
  - ../../components/dra
images:
  - name: tee-device-plugin
    newName: {name}
    newTag: "{tag}"
"""


@pytest.fixture(autouse=True)
def fresh(lab: Lab) -> Iterator[None]:
    """Leave no object of another test's, which is neither Helm's nor this one's."""
    _remove_objects(lab)
    yield
    lab.delete_all_pods()
    lab.kubectl("delete", "resourceclaims,resourceclaimtemplates", "--all", "--wait=false")
    lab.kubectl("delete", "resourceclaimtemplates", "--all", f"--namespace={NAMESPACE}")
    _remove_objects(lab)
    subprocess.run(lab.enter("rm", "-f", SPECIFICATION), check=True, timeout=30)


def _remove_objects(lab: Lab) -> None:
    missing_or_not = ("--ignore-not-found", f"--namespace={NAMESPACE}")
    for kind in OBJECTS:
        lab.kubectl("delete", kind, RELEASE, *missing_or_not)
    lab.kubectl("delete", "deviceclass", "tee-ram", *missing_or_not)
    lab.kubectl("delete", "resourceslices", "--all")


@contextmanager
def slices_watched(lab: Lab, file: Path) -> Iterator[Callable[[], int]]:
    """Watch the slices; give what counts those that were deleted since."""
    flags = ("--watch", "--output-watch-events", "--output=json")
    command = lab.kubectl_command("get", "resourceslices", *flags)
    with file.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out)
    try:
        wait_until("the watch has begun", lambda: '"ADDED"' in file.read_text(), 30)
        yield lambda: file.read_text().count('"DELETED"')
    finally:
        process.kill()
        process.wait()


def claimants_until_rolled(lab: Lab, typist: Shell, prefix: str) -> list[str]:
    """Create a pod with a claim after the other until the roll-out is over; their names."""
    names: list[str] = []
    rolled = ROLLOUT.format("status") + " --watch=false"
    while "successfully rolled out" not in typist.typed(rolled) or not _only_one(lab):
        names.append(f"{prefix}-{len(names)}")
        lab.apply(claimant(lab, names[-1], "512Ki"))
    return names


def _only_one(lab: Lab) -> bool:
    return len(lab.pods(f"name={DAEMON_SET}", NAMESPACE)) == 1


def run_holder(lab: Lab) -> str:
    """Run a pod with a claim; its uid."""
    pod = claimant(lab, "holder", "5Mi")
    pod["spec"]["restartPolicy"] = "Always"
    found: str = lab.run_pod(pod)["metadata"]["uid"]
    assert units_in(lab, "holder") == "10"
    return found


def upgraded_without_a_gap(lab: Lab, typist: Shell, directory: Path, *lines: str) -> None:
    """Type the lines of an update; the slice stays the same one, and pods with claims run."""
    wait_until_settled(lab)
    before = uid(lab)
    older = wait_for_plugin(lab)["metadata"]["uid"]
    with slices_watched(lab, directory / "slices.json") as deleted:
        for line in lines:
            typist.typed(line)
        names = claimants_until_rolled(lab, typist, "passer-by")
        for name in names:
            lab.wait_pod(name, "Running", 60)
        assert wait_for_plugin(lab)["metadata"]["uid"] != older
        assert uid(lab) == before
        assert deleted() == 0
    print(f"\nan update: {len(names)} pods with claims meanwhile, all run; slice {before} stays")


def test_the_chart_publishes_rolls_without_a_gap_and_its_uninstall_removes_the_slice(
    lab: Lab, reader: Shell, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    began = monotonic()
    reader.typed(f"{DRA_INSTALL} --wait")
    wait_for_slice(lab, UNITS)
    record_property("install_until_slice_seconds", round(monotonic() - began, 1))
    print(f"\nhelm install → slice after {monotonic() - began:.1f} s")
    tested = reader.typed(f"helm test {RELEASE} -n {NAMESPACE} --logs")
    assert "nothing failed" in tested
    assert "units: 1, bytes: 524288" in tested
    holder = run_holder(lab)
    upgrade = f"helm upgrade {RELEASE} deploy/chart {KEEP} --set settings.log-level=debug"
    upgraded_without_a_gap(lab, reader, tmp_path, upgrade)
    upgraded_without_a_gap(lab, reader, tmp_path, f"helm rollback {RELEASE} -n {NAMESPACE}")
    assert_undisturbed(lab, holder)
    leaving = claimant(lab, "leaving", "1Mi")
    # With none, the API server removes it without the kubelet.
    leaving["spec"]["terminationGracePeriodSeconds"] = 1
    lab.run_pod(leaving)

    began = monotonic()
    reader.typed(f"helm uninstall {RELEASE} -n {NAMESPACE} --wait")
    of_the_plugin = partial(lab.pods, f"name={DAEMON_SET}", NAMESPACE)
    wait_until("the plugin's pod is gone", lambda: not of_the_plugin(), 30)
    lab.kubectl("delete", "pod", "leaving", "--wait=false")
    wait_until("the slice is gone", lambda: stored(lab) is None, GONE_SECONDS)
    print(f"\nhelm uninstall → the kubelet has deleted the slice after {monotonic() - began:.1f} s")
    assert_undisturbed(lab, holder)
    # Its claim can't be given back without the plugin.
    assert lab.get("pod", "leaving") is not None
    reader.typed(f"{DRA_INSTALL} --wait")
    wait_for_slice(lab, UNITS)
    wait_until("the deleted pod ends", lambda: lab.get("pod", "leaving") is None, 60)
    assert_undisturbed(lab, holder)


def test_an_overlay_does_the_same(lab: Lab, shell: Shell, tmp_path: Path) -> None:
    folder = shell.folder / "deploy" / "overlays" / "with-claims"
    folder.mkdir(exist_ok=True)
    name, _, tag = IMAGE.rpartition(":")
    (folder / "kustomization.yaml").write_text(OVERLAY.format(name=name, tag=tag))
    # By hand, as the page says: no init container writes it here.
    install_specification(lab)
    apply = "kubectl apply -k deploy/overlays/with-claims"
    with deployed(shell, apply):
        wait_for_slice(lab, UNITS)
        holder = run_holder(lab)
        restart = ROLLOUT.format("restart")
        upgraded_without_a_gap(lab, shell, tmp_path, restart, WAIT)
        lab.apply(claimant(lab, "much", "1Gi"))
        waits_because(lab, "much", "cannot allocate all claims")
        assert phase(lab.get("pod", "much")) == "Pending"
        assert_undisturbed(lab, holder)
        assert "api_server_failed" not in plugin_log(lab)
        lab.delete_all_pods()
